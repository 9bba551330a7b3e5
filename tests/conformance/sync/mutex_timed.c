// timedlock and clocklock: ETIMEDOUT not before the deadline, EINVAL for a bad time, success when
// the owner lets go in time, and no look at the time when the mutex is free.
#include "switching.h"

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static int holding, release_it;

static void* holder(void* unused) {
    (void)unused;
    CHECK_OK(pthread_mutex_lock(&m));
    bump(&holding);
    wait_for(&release_it, 1);
    CHECK_OK(pthread_mutex_unlock(&m));
    return NULL;
}

static int lock_until(int how, const struct timespec* t) {
    return how == 0   ? pthread_mutex_timedlock(&m, t)
           : how == 1 ? pthread_mutex_clocklock(&m, CLOCK_REALTIME, t)
                      : pthread_mutex_clocklock(&m, CLOCK_MONOTONIC, t);
}
static clockid_t clock_of(int how) { return how == 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME; }

static void* releaser(void* unused) {
    (void)unused;
    likely_blocked();
    bump(&release_it);
    return NULL;
}

int main(void) {
    int timeouts = 0, acquired = 0;
    for (int how = 0; how < 3; how++) {
        __atomic_store_n(&holding, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&release_it, 0, __ATOMIC_RELEASE);
        pthread_t h = spawn(holder, NULL);
        wait_for(&holding, 1);
        for (int ms = -5; ms <= 30; ms += 5) {
            struct timespec t = clock_after(clock_of(how), ms);
            CHECK_RC(lock_until(how, &t), ETIMEDOUT);
            CHECK(time_reached(clock_of(how), t));
            timeouts++;
        }
        struct timespec past = {0, 0}, before_epoch = {-1, 0};
        CHECK_RC(lock_until(how, &past), ETIMEDOUT);
        CHECK_RC(lock_until(how, &before_epoch), ETIMEDOUT);
        struct timespec bad = clock_after(clock_of(how), 60000);
        bad.tv_nsec = 1000000000;
        CHECK_RC(lock_until(how, &bad), EINVAL);
        bad.tv_nsec = -1;
        CHECK_RC(lock_until(how, &bad), EINVAL);
        // Long enough never to expire here.
        struct timespec far = clock_after(clock_of(how), 600000);
        pthread_t r = spawn(releaser, NULL);
        CHECK_OK(lock_until(how, &far));
        acquired++;
        CHECK_OK(pthread_mutex_unlock(&m));
        // A free mutex is taken whatever the time says, even if it is no valid time.
        CHECK_OK(lock_until(how, &past));
        CHECK_OK(pthread_mutex_unlock(&m));
        CHECK_OK(lock_until(how, &bad));
        CHECK_OK(pthread_mutex_unlock(&m));
        join(r);
        join(h);
    }
    struct timespec t = clock_after(CLOCK_MONOTONIC, 10);
    CHECK_RC(pthread_mutex_clocklock(&m, CLOCK_PROCESS_CPUTIME_ID, &t), EINVAL);
    printf("timeouts %d, acquired %d\n", timeouts, acquired);
    return 0;
}
