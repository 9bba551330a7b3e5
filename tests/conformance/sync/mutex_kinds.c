// Every kind of mutex and every static initialiser: who may lock, relock and unlock, and the error
// that says no. Another thread tries while this one holds, since EBUSY depends on who asks.
#include "switching.h"

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t errorcheck = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_mutex_t adaptive = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;

static void* try_it(void* m) {
    int rc = pthread_mutex_trylock(m);
    if (rc == 0) CHECK_OK(pthread_mutex_unlock(m));
    return (void*)(long)rc;
}
static void* unlock_it(void* m) { return (void*)(long)pthread_mutex_unlock(m); }

static int other_tries(pthread_mutex_t* m) { return (int)(long)join(spawn(try_it, m)); }

static void check_kind(pthread_mutex_t* m, int kind, const char* name) {
    CHECK_EQ(other_tries(m), 0);
    CHECK_OK(pthread_mutex_lock(m));
    move_about(4);
    CHECK_EQ(other_tries(m), EBUSY);
    if (kind == PTHREAD_MUTEX_RECURSIVE) {
        for (int i = 0; i < 5; i++)
            CHECK_OK(i % 2 ? pthread_mutex_lock(m) : pthread_mutex_trylock(m));
        CHECK_EQ((long)join(spawn(unlock_it, m)), EPERM);
        for (int i = 0; i < 5; i++) {
            CHECK_OK(pthread_mutex_unlock(m));
            move_about(2);
            CHECK_EQ(other_tries(m), EBUSY);
        }
    } else {
        CHECK_RC(pthread_mutex_trylock(m), EBUSY);
    }
    if (kind == PTHREAD_MUTEX_ERRORCHECK) {
        CHECK_RC(pthread_mutex_lock(m), EDEADLK);
        CHECK_EQ((long)join(spawn(unlock_it, m)), EPERM);
        struct timespec later = clock_after(CLOCK_REALTIME, 60000);
        CHECK_RC(pthread_mutex_timedlock(m, &later), EDEADLK);
    }
    CHECK_OK(pthread_mutex_unlock(m));
    if (kind == PTHREAD_MUTEX_RECURSIVE || kind == PTHREAD_MUTEX_ERRORCHECK)
        CHECK_RC(pthread_mutex_unlock(m), EPERM);
    CHECK_EQ(other_tries(m), 0);
    printf("%s\n", name);
}

static void recursion_limit(void) {
    // The kernel-independent part: depth is counted exactly.
    pthread_mutex_t m = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    for (int i = 0; i < 100000; i++) CHECK_OK(pthread_mutex_lock(&m));
    for (int i = 0; i < 99999; i++) CHECK_OK(pthread_mutex_unlock(&m));
    CHECK_EQ(other_tries(&m), EBUSY);
    CHECK_OK(pthread_mutex_unlock(&m));
    CHECK_EQ(other_tries(&m), 0);
}

int main(void) {
    check_kind(&plain, PTHREAD_MUTEX_NORMAL, "static normal");
    check_kind(&recursive, PTHREAD_MUTEX_RECURSIVE, "static recursive");
    check_kind(&errorcheck, PTHREAD_MUTEX_ERRORCHECK, "static errorcheck");
    check_kind(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP, "static adaptive");
    static const int kinds[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE,
                                PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP,
                                PTHREAD_MUTEX_DEFAULT};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        pthread_mutexattr_t a;
        CHECK_OK(pthread_mutexattr_init(&a));
        CHECK_OK(pthread_mutexattr_settype(&a, kinds[i]));
        pthread_mutex_t m;
        CHECK_OK(pthread_mutex_init(&m, &a));
        CHECK_OK(pthread_mutexattr_destroy(&a));
        check_kind(&m, kinds[i], "initialised");
        CHECK_OK(pthread_mutex_lock(&m));
        CHECK_RC(pthread_mutex_destroy(&m), EBUSY);
        CHECK_OK(pthread_mutex_unlock(&m));
        CHECK_OK(pthread_mutex_destroy(&m));
    }
    recursion_limit();
    return 0;
}
