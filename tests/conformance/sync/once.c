// expect: fibers>=16
// pthread_once: many callers, one run, nobody returns before it is done, also when the routine
// blocks; a routine ended by cancellation or pthread_exit is run again by the next caller.
#include "switching.h"

enum { kThreads = 16, kOnces = 50 };
static pthread_once_t once[kOnces];
static int runs, done, current, started, cancelled_runs, second_runs;

static void slow(void) {
    bump(&runs);
    move_about(6);
    __atomic_store_n(&done, current + 1, __ATOMIC_RELEASE);
}

static void* calls(void* barrier) {
    for (int i = 0; i < kOnces; i++) {
        int rc = pthread_barrier_wait(barrier);
        if (rc == PTHREAD_BARRIER_SERIAL_THREAD) current = i;
        pthread_barrier_wait(barrier);
        CHECK_OK(pthread_once(&once[i], slow));
        CHECK_EQ(__atomic_load_n(&done, __ATOMIC_ACQUIRE), i + 1);
        CHECK_OK(pthread_once(&once[i], slow));
    }
    return NULL;
}

static void is_cancelled(void) {
    bump(&cancelled_runs);
    bump(&started);
    for (;;) sleep(60);
}
static void exits(void) {
    bump(&cancelled_runs);
    pthread_exit((void*)7);
}
static void works(void) { bump(&second_runs); }

static void* first(void* argument) {
    CHECK_OK(pthread_once(argument, is_cancelled));
    return NULL;
}
static void* first_exits(void* argument) {
    CHECK_OK(pthread_once(argument, exits));
    return NULL;
}
static void* second(void* argument) {
    CHECK_OK(pthread_once(argument, works));
    return NULL;
}

int main(void) {
    pthread_barrier_t b;
    CHECK_OK(pthread_barrier_init(&b, NULL, kThreads));
    for (int i = 0; i < kOnces; i++) once[i] = PTHREAD_ONCE_INIT;
    pthread_t t[kThreads];
    for (int i = 0; i < kThreads; i++) t[i] = spawn(calls, &b);
    for (int i = 0; i < kThreads; i++) join(t[i]);
    CHECK_EQ(runs, kOnces);

    pthread_once_t again = PTHREAD_ONCE_INIT;
    pthread_t victim = spawn(first, &again), waiters[3];
    wait_for(&started, 1);
    for (int i = 0; i < 3; i++) waiters[i] = spawn(second, &again);
    likely_blocked();
    CHECK_EQ(__atomic_load_n(&second_runs, __ATOMIC_ACQUIRE), 0);
    CHECK_OK(pthread_cancel(victim));
    CHECK_EQ(join(victim), PTHREAD_CANCELED);
    for (int i = 0; i < 3; i++) join(waiters[i]);
    CHECK_EQ(second_runs, 1);
    pthread_once_t left = PTHREAD_ONCE_INIT;
    CHECK_EQ(join(spawn(first_exits, &left)), 7);
    CHECK_OK(pthread_once(&left, works));
    CHECK_EQ(second_runs, 2);
    printf("runs %d, unfinished %d, repeated %d\n", runs, cancelled_runs, second_runs);
    return 0;
}
