// Process-shared mutexes with an owner that main locked before the first thread stay main's: no
// thread made later is taken for the owner, wherever it runs, and after the unlock they are free.
// expect: fibers>=2
#include "switching.h"

enum { kKinds = 5 };
static pthread_mutex_t mutex[kKinds];
static int tried, got;

static void make(int i, int type, int robust, int protocol) {
    pthread_mutexattr_t a;
    CHECK_OK(pthread_mutexattr_init(&a));
    CHECK_OK(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
    CHECK_OK(pthread_mutexattr_settype(&a, type));
    CHECK_OK(pthread_mutexattr_setrobust(&a, robust));
    CHECK_OK(pthread_mutexattr_setprotocol(&a, protocol));
    CHECK_OK(pthread_mutex_init(&mutex[i], &a));
    CHECK_OK(pthread_mutexattr_destroy(&a));
}

static void* body(void* unused) {
    (void)unused;
    for (int i = 0; i < kKinds; i++) {
        struct timespec soon = clock_after(CLOCK_REALTIME, 5);
        CHECK_RC(pthread_mutex_unlock(&mutex[i]), EPERM);
        CHECK_RC(pthread_mutex_trylock(&mutex[i]), EBUSY);
        CHECK_RC(pthread_mutex_timedlock(&mutex[i], &soon), ETIMEDOUT);
        bump(&tried);
    }
    for (int i = 0; i < kKinds; i++) {
        CHECK_OK(pthread_mutex_lock(&mutex[i]));
        bump(&got);
        CHECK_OK(pthread_mutex_unlock(&mutex[i]));
    }
    return NULL;
}

int main(void) {
    make(0, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
    make(1, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
    make(2, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
    make(3, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_INHERIT);
    make(4, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT);
    for (int i = 0; i < kKinds; i++) CHECK_OK(pthread_mutex_lock(&mutex[i]));
    CHECK_OK(pthread_mutex_lock(&mutex[1]));
    CHECK_OK(pthread_mutex_trylock(&mutex[3]));
    pthread_t t = spawn(body, NULL);
    wait_for(&tried, kKinds);
    move_about(5);
    CHECK_RC(pthread_mutex_lock(&mutex[0]), EDEADLK);
    CHECK_RC(pthread_mutex_lock(&mutex[2]), EDEADLK);
    CHECK_EQ(__atomic_load_n(&got, __ATOMIC_ACQUIRE), 0);
    CHECK_OK(pthread_mutex_unlock(&mutex[1]));
    CHECK_OK(pthread_mutex_unlock(&mutex[3]));
    for (int i = 0; i < kKinds; i++) CHECK_OK(pthread_mutex_unlock(&mutex[i]));
    join(t);
    for (int i = 0; i < kKinds; i++) {
        CHECK_OK(pthread_mutex_lock(&mutex[i]));
        CHECK_OK(pthread_mutex_unlock(&mutex[i]));
        CHECK_RC(pthread_mutex_unlock(&mutex[i]), EPERM);
    }
    printf("tried %d, got %d\n", tried, got);
    return 0;
}
