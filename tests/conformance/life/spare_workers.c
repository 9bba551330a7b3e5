// Forty threads wait in the kernel for a lock on a file: no limit holds any of them back, and the
// kernel threads that they needed end when they are idle.
// env: PFIBER_SPARE_MS=50
// expect: handoffs>=40 workers_started>=30
// limit: 40
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include "switching.h"

enum { kWaiters = 40, kFew = 14 };  // eight processors and some more
static int waiting;

static void* wait_for_lock(void* argument) {
    int fd = open("lock", O_RDWR);
    CHECK_GE(fd, 0);
    __atomic_fetch_add(&waiting, 1, __ATOMIC_ACQ_REL);
    CHECK_EQ(flock(fd, LOCK_SH), 0);
    close(fd);
    return argument;
}

static int kernel_threads(void) {
    char line[128];
    int count = -1;
    FILE* status = fopen("/proc/self/status", "r");
    CHECK(status != NULL);
    while (count < 0 && fgets(line, sizeof line, status))
        if (strncmp(line, "Threads:", 8) == 0) count = atoi(line + 8);
    fclose(status);
    return count;
}

int main(void) {
    int fd = open("lock", O_RDWR | O_CREAT, 0600);
    CHECK_GE(fd, 0);
    CHECK_EQ(flock(fd, LOCK_EX), 0);
    pthread_t threads[kWaiters];
    for (int i = 0; i < kWaiters; i++) threads[i] = spawn(wait_for_lock, NULL);
    wait_for(&waiting, kWaiters);
    while (kernel_threads() < kWaiters) usleep(1000);
    CHECK_EQ(flock(fd, LOCK_UN), 0);
    for (int i = 0; i < kWaiters; i++) join(threads[i]);
    while (kernel_threads() > kFew) usleep(10000);
    puts("few are left");
    return 0;
}
