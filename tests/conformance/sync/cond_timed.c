// timedwait and clockwait on both clocks and with the clock attribute: never early, the mutex is
// held on return, bad times are EINVAL, a signal before the deadline is no timeout.
#include "switching.h"

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t real = PTHREAD_COND_INITIALIZER, mono;
static int flag;

static int wait_until(int how, const struct timespec* t) {
    switch (how) {
        case 0:
            return pthread_cond_timedwait(&real, &m, t);
        case 1:
            return pthread_cond_timedwait(&mono, &m, t);
        case 2:
            return pthread_cond_clockwait(&real, &m, CLOCK_MONOTONIC, t);
        default:
            return pthread_cond_clockwait(&mono, &m, CLOCK_REALTIME, t);
    }
}
static clockid_t clock_of(int how) {
    return how == 1 || how == 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

static void* signaller(void* how) {
    likely_blocked();
    CHECK_OK(pthread_mutex_lock(&m));
    flag = 1;
    CHECK_OK(pthread_cond_signal((long)how == 0 || (long)how == 2 ? &real : &mono));
    CHECK_OK(pthread_mutex_unlock(&m));
    return NULL;
}

int main(void) {
    pthread_condattr_t a;
    clockid_t clock;
    int shared;
    CHECK_OK(pthread_condattr_init(&a));
    CHECK_OK(pthread_condattr_getclock(&a, &clock));
    CHECK_EQ(clock, CLOCK_REALTIME);
    CHECK_OK(pthread_condattr_getpshared(&a, &shared));
    CHECK_EQ(shared, PTHREAD_PROCESS_PRIVATE);
    CHECK_RC(pthread_condattr_setclock(&a, CLOCK_PROCESS_CPUTIME_ID), EINVAL);
    CHECK_RC(pthread_condattr_setpshared(&a, 9), EINVAL);
    CHECK_OK(pthread_condattr_setclock(&a, CLOCK_MONOTONIC));
    CHECK_OK(pthread_condattr_getclock(&a, &clock));
    CHECK_EQ(clock, CLOCK_MONOTONIC);
    CHECK_OK(pthread_cond_init(&mono, &a));
    CHECK_OK(pthread_condattr_destroy(&a));

    int timeouts = 0, signals = 0;
    for (int how = 0; how < 4; how++) {
        clockid_t c = clock_of(how);
        CHECK_OK(pthread_mutex_lock(&m));
        for (int ms = -5; ms <= 30; ms += 5) {
            struct timespec t = clock_after(c, ms);
            int rc;
            while ((rc = wait_until(how, &t)) == 0) CHECK(!time_reached(c, t));  // stray wake-up
            CHECK_RC(rc, ETIMEDOUT);
            CHECK(time_reached(c, t));
            CHECK_RC(pthread_mutex_trylock(&m), EBUSY);
            timeouts++;
        }
        struct timespec bad = clock_after(c, 60000), past = {-1, 0};
        bad.tv_nsec = 1000000000;
        CHECK_RC(wait_until(how, &bad), EINVAL);
        bad.tv_nsec = -1;
        CHECK_RC(wait_until(how, &bad), EINVAL);
        CHECK_RC(wait_until(how, &past), ETIMEDOUT);
        CHECK_RC(pthread_mutex_trylock(&m), EBUSY);
        flag = 0;
        pthread_t s = spawn(signaller, (void*)(long)how);
        struct timespec far = clock_after(c, 600000);
        while (!flag) CHECK_OK(wait_until(how, &far));
        signals++;
        CHECK_OK(pthread_mutex_unlock(&m));
        join(s);
    }
    CHECK_OK(pthread_mutex_lock(&m));
    struct timespec t = clock_after(CLOCK_MONOTONIC, 10);
    CHECK_RC(pthread_cond_clockwait(&real, &m, CLOCK_PROCESS_CPUTIME_ID, &t), EINVAL);
    CHECK_OK(pthread_mutex_unlock(&m));
    CHECK_OK(pthread_cond_destroy(&mono));
    printf("timeouts %d, signals %d\n", timeouts, signals);
    return 0;
}
