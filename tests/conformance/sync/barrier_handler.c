// A thread whose signal handler runs while it waits at a barrier stays counted: the round completes
// without it, and the barrier is not destroyed before the handler has returned.  Whether a thread
// was already waiting when the signal came cannot be known, so a handler gives up after a while;
// over all rounds the barrier must have been passed under a handler at least once.
// expect: fibers>=3
#include <semaphore.h>
#include <signal.h>

#include "switching.h"

enum { kThreads = 3, kRounds = 8, kPatienceMs = 700 };

static pthread_barrier_t b;
static sem_t in_handler, may_return;
static int inside, passed, destroyed, held;

static void waits_long(int signal) {
    (void)signal;
    bump(&inside);
    sem_post(&in_handler);
    struct timespec limit = clock_after(CLOCK_MONOTONIC, kPatienceMs);
    while (sem_clockwait(&may_return, CLOCK_MONOTONIC, &limit) != 0 && errno == EINTR) {
    }
    __atomic_sub_fetch(&inside, 1, __ATOMIC_ACQ_REL);
}

static void* meets(void* rounds) {
    for (long i = 0; i < (long)rounds; i++) {
        int rc = pthread_barrier_wait(&b);
        CHECK(rc == 0 || rc == PTHREAD_BARRIER_SERIAL_THREAD);
        bump(&passed);
    }
    return NULL;
}
static void* destroys(void* unused) {
    (void)unused;
    CHECK_OK(pthread_barrier_destroy(&b));
    bump(&destroyed);
    return NULL;
}

static void interrupt(pthread_t t) {
    CHECK_OK(pthread_kill(t, SIGUSR1));
    while (sem_wait(&in_handler) != 0) CHECK_EQ(errno, EINTR);
}
static void let_return(void) {
    while (__atomic_load_n(&inside, __ATOMIC_ACQUIRE) > 0) {
        CHECK_EQ(sem_post(&may_return), 0);
        usleep(1000);
    }
    while (sem_trywait(&may_return) == 0) {
    }
}
// True when all `count` handlers are still held after the barrier.
static int pass_under(int count) {
    int rc = pthread_barrier_wait(&b);
    CHECK(rc == 0 || rc == PTHREAD_BARRIER_SERIAL_THREAD);
    return __atomic_load_n(&inside, __ATOMIC_ACQUIRE) == count;
}

int main(void) {
    struct sigaction a = {.sa_handler = waits_long};
    CHECK_EQ(sigaction(SIGUSR1, &a, NULL), 0);
    CHECK_EQ(sem_init(&in_handler, 0, 0), 0);
    CHECK_EQ(sem_init(&may_return, 0, 0), 0);
    CHECK_OK(pthread_barrier_init(&b, NULL, kThreads + 1));
    pthread_t t[kThreads];
    for (int i = 0; i < kThreads; i++) t[i] = spawn(meets, (void*)kRounds);
    for (int r = 0; r < kRounds; r++) {
        wait_for(&passed, kThreads * r);
        likely_blocked();
        int count = r % 2 ? kThreads : 1;
        for (int i = 0; i < count; i++) interrupt(t[i]);
        // The handlers return before the round is complete, and others begin.
        if (r % 4 == 1) {
            let_return();
            for (int i = 0; i < count; i++) interrupt(t[i]);
        }
        held += pass_under(count);
        let_return();
    }
    for (int i = 0; i < kThreads; i++) join(t[i]);
    CHECK_EQ(passed, kThreads * kRounds);
    CHECK_OK(pthread_barrier_destroy(&b));

    int waited = 0;
    for (int r = 0; r < kRounds; r++) {
        CHECK_OK(pthread_barrier_init(&b, NULL, 2));
        destroyed = 0;
        t[0] = spawn(meets, (void*)1);
        likely_blocked();
        interrupt(t[0]);
        int is_held = pass_under(1);
        t[1] = spawn(destroys, NULL);
        likely_blocked();
        int done = __atomic_load_n(&destroyed, __ATOMIC_ACQUIRE);
        CHECK(!(is_held && done && __atomic_load_n(&inside, __ATOMIC_ACQUIRE) == 1));
        waited += is_held && !done;
        let_return();
        join(t[0]);
        join(t[1]);
    }
    printf("passed under handlers %d, destroyed after them %d\n", held > 0, waited > 0);
    return 0;
}
