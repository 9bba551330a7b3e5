// expect: fibers>=8
// A mutex and an event built on the raw futex, the way runtimes without libc locks do: exclusion
// under contention, and no wake-up lost between the check of the word and the wait.
#include <linux/futex.h>
#include <sys/syscall.h>

#include "switching.h"

enum { kThreads = 8, kRounds = 4000 };
static int word, inside;
static long counter;
static int ball, ends;

static void lock(void) {
    int zero = 0;
    if (__atomic_compare_exchange_n(&word, &zero, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
    while (__atomic_exchange_n(&word, 2, __ATOMIC_ACQUIRE) != 0) {
        long rc = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
        if (rc != 0) CHECK(errno == EAGAIN || errno == EINTR);
    }
}
static void unlock(void) {
    if (__atomic_exchange_n(&word, 0, __ATOMIC_RELEASE) == 2)
        CHECK_GE(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
}

static void* body(void* unused) {
    (void)unused;
    for (int i = 0; i < kRounds; i++) {
        lock();
        CHECK_EQ(inside++, 0);
        counter++;
        if (i % 64 == 0) sched_yield();
        inside--;
        unlock();
    }
    return NULL;
}

static void* plays(void* me) {
    for (int i = 0; i < kRounds; i++) {
        int now;
        while ((now = __atomic_load_n(&ball, __ATOMIC_ACQUIRE)) % 2 != (long)me) {
            long rc = syscall(SYS_futex, &ball, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
            if (rc != 0) CHECK(errno == EAGAIN || errno == EINTR);
        }
        __atomic_store_n(&ball, now + 1, __ATOMIC_RELEASE);
        CHECK_GE(syscall(SYS_futex, &ball, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
    }
    bump(&ends);
    return NULL;
}

int main(void) {
    pthread_t t[kThreads];
    for (int i = 0; i < kThreads; i++) t[i] = spawn(body, NULL);
    for (int i = 0; i < kThreads; i++) join(t[i]);
    CHECK_EQ(counter, (long)kThreads * kRounds);
    pthread_t x = spawn(plays, (void*)0), y = spawn(plays, (void*)1);
    join(x);
    join(y);
    printf("counter %ld, ball %d, ends %d\n", counter, ball, ends);
    return 0;
}
