// expect: fibers>=6
// Private priority-inheriting mutexes under contention: the kernel looks the owner up by thread id,
// so an owner that is no kernel thread must be served some other way.
#include "switching.h"

enum { kThreads = 6, kRounds = 1500 };
static pthread_mutex_t pi[3];
static long counter[3];
static int holding, go;

static void* worker(void* unused) {
    (void)unused;
    for (int i = 0; i < kRounds; i++) {
        int k = i % 3;
        CHECK_OK(pthread_mutex_lock(&pi[k]));
        long seen = counter[k];
        if (i % 32 == 0) sched_yield();
        if (i % 256 == 0) usleep(1);
        counter[k] = seen + 1;
        CHECK_OK(pthread_mutex_unlock(&pi[k]));
    }
    return NULL;
}

static void* holder(void* unused) {
    (void)unused;
    for (int k = 0; k < 3; k++) CHECK_OK(pthread_mutex_lock(&pi[k]));
    bump(&holding);
    wait_for(&go, 1);
    move_about(8);
    for (int k = 0; k < 3; k++) CHECK_OK(pthread_mutex_unlock(&pi[k]));
    return NULL;
}

static void* release_soon(void* unused) {
    (void)unused;
    likely_blocked();
    bump(&go);
    return NULL;
}

int main(void) {
    static const int kinds[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE,
                                PTHREAD_MUTEX_ERRORCHECK};
    for (int k = 0; k < 3; k++) {
        pthread_mutexattr_t a;
        CHECK_OK(pthread_mutexattr_init(&a));
        CHECK_OK(pthread_mutexattr_settype(&a, kinds[k]));
        CHECK_OK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
        CHECK_OK(pthread_mutex_init(&pi[k], &a));
        CHECK_OK(pthread_mutexattr_destroy(&a));
    }
    pthread_t h = spawn(holder, NULL);
    wait_for(&holding, 1);
    for (int k = 0; k < 3; k++) {
        CHECK_RC(pthread_mutex_trylock(&pi[k]), EBUSY);
        struct timespec t = clock_after(CLOCK_REALTIME, 10);
        CHECK_RC(pthread_mutex_timedlock(&pi[k], &t), ETIMEDOUT);
        CHECK(time_reached(CLOCK_REALTIME, t));
    }
    CHECK_RC(pthread_mutex_unlock(&pi[1]), EPERM);
    CHECK_RC(pthread_mutex_unlock(&pi[2]), EPERM);
    pthread_t r = spawn(release_soon, NULL);
    for (int k = 0; k < 3; k++) CHECK_OK(pthread_mutex_lock(&pi[k]));
    join(h);
    join(r);
    CHECK_OK(pthread_mutex_lock(&pi[1]));
    CHECK_OK(pthread_mutex_unlock(&pi[1]));
    CHECK_RC(pthread_mutex_lock(&pi[2]), EDEADLK);
    for (int k = 0; k < 3; k++) CHECK_OK(pthread_mutex_unlock(&pi[k]));

    pthread_t t[kThreads];
    for (int i = 0; i < kThreads; i++) t[i] = spawn(worker, NULL);
    for (int i = 0; i < kThreads; i++) join(t[i]);
    for (int k = 0; k < 3; k++) {
        CHECK_EQ(counter[k], kThreads * kRounds / 3);
        CHECK_OK(pthread_mutex_destroy(&pi[k]));
    }
    printf("%ld %ld %ld\n", counter[0], counter[1], counter[2]);
    return 0;
}
