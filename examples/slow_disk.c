// Shows:  calls that block and cannot be polled: 64 threads in write + fsync, one that counts.
// Run:    slow_disk [DIR [SECONDS]]      (the current directory, 3 s; DIR on a real disk)
// Expect: the counter keeps going while the others wait for the disk; short longest pause.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { WRITERS = 64 };

static volatile int stop;
static const char* dir = ".";
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long fsyncs, failures;
static unsigned long count;
static double longest_ms;

static double ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static void* writer(void* arg) {
    char path[512], block[4096] = {0};
    unsigned long mine = 0, failed = 0;
    snprintf(path, sizeof path, "%s/slow_disk.%d.%ld", dir, (int)getpid(), (long)arg);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    // The file has no name from here on, so nothing is left behind however the program ends.
    if (fd >= 0) unlink(path);
    while (fd >= 0 && !stop) {
        if (pwrite(fd, block, sizeof block, mine % 16 * sizeof block) != sizeof block || fsync(fd))
            failed++;
        mine++;
    }
    if (fd < 0)
        failed++;
    else
        close(fd);
    pthread_mutex_lock(&lock);
    fsyncs += mine;
    failures += failed;
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void* counter(void* arg) {
    (void)arg;
    double before = ms();
    while (!stop) {
        for (volatile int i = 0; i < 1000; i++) continue;
        count++;
        double now = ms();
        if (now - before > longest_ms) longest_ms = now - before;
        before = now;
    }
    return NULL;
}

int main(int argc, char** argv) {
    pthread_t t[WRITERS + 1];
    if (argc > 1) dir = argv[1];
    int seconds = argc > 2 ? atoi(argv[2]) : 3;
    for (long i = 0; i <= WRITERS; i++)
        if (pthread_create(&t[i], NULL, i ? writer : counter, (void*)i))
            return perror("pthread_create"), 1;
    sleep(seconds);
    stop = 1;
    for (int i = 0; i <= WRITERS; i++) pthread_join(t[i], NULL);
    printf("%lu fsyncs by %d threads (%lu failed)\n", fsyncs, WRITERS, failures);
    printf("the counter came to %lu, its longest pause was %.1f ms\n", count, longest_ms);
    return failures || !fsyncs ? 1 : 0;
}
