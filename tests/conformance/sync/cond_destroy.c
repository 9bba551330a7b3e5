// POSIX allows destroying a condition variable as soon as a broadcast has woken everybody, and
// freeing the mutex once all have left it: here the memory is unmapped at once, so a late touch
// faults.
#include <sys/mman.h>

#include "switching.h"

enum { kRounds = 150, kWaiters = 4 };
struct page {
    pthread_cond_t c;
};
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static int waiting, open_door, woken;
static struct page* p;

static void* waiter(void* timed) {
    CHECK_OK(pthread_mutex_lock(&m));
    waiting++;
    struct timespec far = clock_after(CLOCK_REALTIME, 600000);
    while (!open_door)
        CHECK_OK(timed ? pthread_cond_timedwait(&p->c, &m, &far) : pthread_cond_wait(&p->c, &m));
    woken++;
    CHECK_OK(pthread_mutex_unlock(&m));
    return NULL;
}

int main(void) {
    for (int i = 0; i < kRounds; i++) {
        p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(p != MAP_FAILED);
        CHECK_OK(pthread_cond_init(&p->c, NULL));
        waiting = open_door = 0;
        pthread_t t[kWaiters];
        for (long k = 0; k < kWaiters; k++) t[k] = spawn(waiter, (void*)(k % 2));
        CHECK_OK(pthread_mutex_lock(&m));
        while (waiting < kWaiters) {
            CHECK_OK(pthread_mutex_unlock(&m));
            sched_yield();
            CHECK_OK(pthread_mutex_lock(&m));
        }
        open_door = 1;
        CHECK_OK(pthread_cond_broadcast(&p->c));
        // With the mutex still held nobody has returned yet; destroy must cope with that.
        CHECK_OK(pthread_cond_destroy(&p->c));
        CHECK_EQ(munmap(p, 4096), 0);
        CHECK_OK(pthread_mutex_unlock(&m));
        for (int k = 0; k < kWaiters; k++) join(t[k]);
    }
    printf("woken %d\n", woken);
    CHECK_EQ(woken, kRounds * kWaiters);
    return 0;
}
