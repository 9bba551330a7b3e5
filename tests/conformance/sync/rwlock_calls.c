// Every rwlock call, with what a second thread sees while the first reads or writes, the error
// codes, and the three preferences.
#include "switching.h"

static pthread_rwlock_t fixed = PTHREAD_RWLOCK_INITIALIZER,
                        fixed_writer = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static void* tries_read(void* l) {
    int rc = pthread_rwlock_tryrdlock(l);
    if (rc == 0) CHECK_OK(pthread_rwlock_unlock(l));
    return (void*)(long)rc;
}
static void* tries_write(void* l) {
    int rc = pthread_rwlock_trywrlock(l);
    if (rc == 0) CHECK_OK(pthread_rwlock_unlock(l));
    return (void*)(long)rc;
}
static long other(void* (*f)(void*), pthread_rwlock_t* l) { return (long)join(spawn(f, l)); }

static int timed(pthread_rwlock_t* l, int write, int how, const struct timespec* t) {
    if (how == 0)
        return write ? pthread_rwlock_timedwrlock(l, t) : pthread_rwlock_timedrdlock(l, t);
    clockid_t c = how == 1 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    return write ? pthread_rwlock_clockwrlock(l, c, t) : pthread_rwlock_clockrdlock(l, c, t);
}

static void* times_out(void* argument) {
    pthread_rwlock_t* l = argument;
    int reads_ok = pthread_rwlock_tryrdlock(l) == 0;
    if (reads_ok) CHECK_OK(pthread_rwlock_unlock(l));
    for (int how = 0; how < 3; how++) {
        clockid_t c = how == 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
        struct timespec t = clock_after(c, 10), bad = t, far = clock_after(c, 600000),
                        past = {-1, 0};
        CHECK_RC(timed(l, 1, how, &t), ETIMEDOUT);
        CHECK(time_reached(c, t));
        CHECK_RC(timed(l, 1, how, &past), ETIMEDOUT);
        bad.tv_nsec = 1000000000;
        CHECK_RC(timed(l, 1, how, &bad), EINVAL);
        CHECK_RC(timed(l, 0, how, &bad), EINVAL);
        if (reads_ok) {
            CHECK_OK(timed(l, 0, how, &far));
            CHECK_OK(pthread_rwlock_unlock(l));
        } else {
            t = clock_after(c, 10);
            CHECK_RC(timed(l, 0, how, &t), ETIMEDOUT);
            CHECK(time_reached(c, t));
        }
    }
    struct timespec t = clock_after(CLOCK_REALTIME, 10);
    CHECK_RC(pthread_rwlock_clockrdlock(l, CLOCK_PROCESS_CPUTIME_ID, &t), EINVAL);
    return NULL;
}

static void check(pthread_rwlock_t* l, const char* name) {
    CHECK_OK(pthread_rwlock_rdlock(l));
    CHECK_OK(pthread_rwlock_rdlock(l));
    CHECK_OK(pthread_rwlock_tryrdlock(l));
    move_about(4);
    CHECK_EQ(other(tries_read, l), 0);
    CHECK_EQ(other(tries_write, l), EBUSY);
    CHECK_RC(pthread_rwlock_trywrlock(l), EBUSY);
    join(spawn(times_out, l));
    CHECK_OK(pthread_rwlock_unlock(l));
    CHECK_OK(pthread_rwlock_unlock(l));
    CHECK_EQ(other(tries_write, l), EBUSY);
    CHECK_OK(pthread_rwlock_unlock(l));
    CHECK_EQ(other(tries_write, l), 0);

    CHECK_OK(pthread_rwlock_wrlock(l));
    move_about(4);
    CHECK_EQ(other(tries_read, l), EBUSY);
    CHECK_EQ(other(tries_write, l), EBUSY);
    CHECK_RC(pthread_rwlock_wrlock(l), EDEADLK);
    CHECK_RC(pthread_rwlock_rdlock(l), EDEADLK);
    join(spawn(times_out, l));
    CHECK_OK(pthread_rwlock_unlock(l));
    CHECK_OK(pthread_rwlock_trywrlock(l));
    CHECK_OK(pthread_rwlock_unlock(l));
    CHECK_OK(pthread_rwlock_destroy(l));
    printf("%s\n", name);
}

int main(void) {
    check(&fixed, "static");
    check(&fixed_writer, "static, writers first");
    pthread_rwlockattr_t a;
    int v;
    CHECK_OK(pthread_rwlockattr_init(&a));
    CHECK_OK(pthread_rwlockattr_getkind_np(&a, &v));
    CHECK_EQ(v, PTHREAD_RWLOCK_DEFAULT_NP);
    CHECK_RC(pthread_rwlockattr_setkind_np(&a, 9), EINVAL);
    CHECK_RC(pthread_rwlockattr_setpshared(&a, 9), EINVAL);
    for (int kind = PTHREAD_RWLOCK_PREFER_READER_NP;
         kind <= PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP; kind++) {
        CHECK_OK(pthread_rwlockattr_setkind_np(&a, kind));
        CHECK_OK(pthread_rwlockattr_getkind_np(&a, &v));
        CHECK_EQ(v, kind);
        pthread_rwlock_t l;
        CHECK_OK(pthread_rwlock_init(&l, &a));
        check(&l, "initialised");
    }
    CHECK_OK(pthread_rwlockattr_destroy(&a));
    return 0;
}
