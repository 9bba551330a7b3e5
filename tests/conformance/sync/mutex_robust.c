// Private robust mutexes: an owner that ends (by return, by pthread_exit, with several held) makes
// the next lock answer EOWNERDEAD; consistent repairs, its absence makes ENOTRECOVERABLE for good.
#include "switching.h"

static pthread_mutex_t m[4];
static int step;

static void init(pthread_mutex_t* mutex, int kind, int protocol) {
    pthread_mutexattr_t a;
    CHECK_OK(pthread_mutexattr_init(&a));
    CHECK_OK(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
    CHECK_OK(pthread_mutexattr_settype(&a, kind));
    CHECK_OK(pthread_mutexattr_setprotocol(&a, protocol));
    CHECK_OK(pthread_mutex_init(mutex, &a));
    CHECK_OK(pthread_mutexattr_destroy(&a));
}

static void* dies_holding_all(void* how) {
    for (int i = 0; i < 4; i++) {
        CHECK_OK(pthread_mutex_lock(&m[i]));
        move_about(3);
    }
    bump(&step);
    if (how) pthread_exit(how);
    return how;
}

static void* waits_then_finds_it_dead(void* mutex) {
    bump(&step);
    int rc = pthread_mutex_lock(mutex);
    if (rc == EOWNERDEAD) {
        CHECK_OK(pthread_mutex_consistent(mutex));
        rc = 100;
    }
    CHECK_OK(pthread_mutex_unlock(mutex));
    return (void*)(long)rc;
}

static void* holds_until_waiters_came(void* mutex) {
    CHECK_OK(pthread_mutex_lock(mutex));
    bump(&step);
    wait_for(&step, 4);
    likely_blocked();
    return NULL;
}

int main(void) {
    init(&m[0], PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
    init(&m[1], PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
    init(&m[2], PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
    init(&m[3], PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT);
    int dead = 0;
    for (int round = 0; round < 6; round++) {
        join(spawn(dies_holding_all, round % 2 ? (void*)1 : NULL));
        for (int i = 0; i < 4; i++) {
            struct timespec far = clock_after(CLOCK_REALTIME, 600000);
            CHECK_RC(round % 3 == 0   ? pthread_mutex_lock(&m[i])
                     : round % 3 == 1 ? pthread_mutex_trylock(&m[i])
                                      : pthread_mutex_timedlock(&m[i], &far),
                     EOWNERDEAD);
            CHECK_OK(pthread_mutex_consistent(&m[i]));
            CHECK_OK(pthread_mutex_unlock(&m[i]));
            CHECK_OK(pthread_mutex_lock(&m[i]));
            CHECK_OK(pthread_mutex_unlock(&m[i]));
            dead++;
        }
    }
    // Three waiters are asleep when the owner ends: exactly one learns of the death.
    __atomic_store_n(&step, 0, __ATOMIC_RELEASE);
    pthread_t owner = spawn(holds_until_waiters_came, &m[0]), w[3];
    wait_for(&step, 1);
    for (int i = 0; i < 3; i++) w[i] = spawn(waits_then_finds_it_dead, &m[0]);
    join(owner);
    int told = 0;
    for (int i = 0; i < 3; i++) {
        long rc = (long)join(w[i]);
        CHECK(rc == 0 || rc == 100);
        told += rc == 100;
    }
    CHECK_EQ(told, 1);
    // Unlocked without repair: lost for everybody.
    join(spawn(dies_holding_all, NULL));
    for (int i = 0; i < 4; i++) {
        CHECK_RC(pthread_mutex_lock(&m[i]), EOWNERDEAD);
        CHECK_OK(pthread_mutex_unlock(&m[i]));
        CHECK_RC(pthread_mutex_lock(&m[i]), ENOTRECOVERABLE);
        struct timespec far = clock_after(CLOCK_REALTIME, 600000);
        CHECK_RC(pthread_mutex_timedlock(&m[i], &far), ENOTRECOVERABLE);
        // Last: glibc 2.36's trylock leaves the word locked when it gives this answer.
        CHECK_RC(pthread_mutex_trylock(&m[i]), ENOTRECOVERABLE);
        CHECK_OK(pthread_mutex_destroy(&m[i]));
    }
    printf("dead %d, told %d\n", dead, told);
    return 0;
}
