// tryjoin, timedjoin, clockjoin: EBUSY and ETIMEDOUT leave the thread joinable, never early, and
// the result arrives in the end.
#include "switching.h"

static int release_it;
static void* waits(void* x) {
    wait_for(&release_it, 1);
    return x;
}
static void* releases(void* unused) {
    (void)unused;
    likely_blocked();
    bump(&release_it);
    return NULL;
}

static int timed(int how, pthread_t t, void** result, const struct timespec* until) {
    return how == 0   ? pthread_timedjoin_np(t, result, until)
           : how == 1 ? pthread_clockjoin_np(t, result, CLOCK_REALTIME, until)
                      : pthread_clockjoin_np(t, result, CLOCK_MONOTONIC, until);
}

int main(void) {
    int timeouts = 0, joined = 0;
    for (int how = 0; how < 3; how++) {
        clockid_t c = how == 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
        release_it = 0;
        void* result = NULL;
        pthread_t t = spawn(waits, (void*)(long)(how + 40));
        CHECK_RC(pthread_tryjoin_np(t, &result), EBUSY);
        for (int ms = -5; ms <= 20; ms += 5) {
            struct timespec until = clock_after(c, ms);
            CHECK_RC(timed(how, t, &result, &until), ETIMEDOUT);
            CHECK(time_reached(c, until));
            timeouts++;
        }
        // A time with bad nanoseconds is not tried: glibc 2.36 then retries without end.
        struct timespec far = clock_after(c, 600000);
        CHECK_EQ(result, NULL);
        pthread_t r = spawn(releases, NULL);
        CHECK_OK(timed(how, t, &result, &far));
        CHECK_EQ((long)result, how + 40);
        joined++;
        join(r);
    }
    struct timespec until = clock_after(CLOCK_REALTIME, 5);
    pthread_t t = spawn(waits, (void*)9);
    CHECK_RC(pthread_clockjoin_np(t, NULL, CLOCK_PROCESS_CPUTIME_ID, &until), EINVAL);
    void* result = NULL;
    int rc;
    while ((rc = pthread_tryjoin_np(t, &result)) == EBUSY) sched_yield();
    CHECK_OK(rc);
    CHECK_EQ((long)result, 9);
    CHECK_RC(pthread_tryjoin_np(pthread_self(), NULL), EBUSY);  // alive is all it looks at
    release_it = 0;
    t = spawn(waits, NULL);
    CHECK_OK(pthread_detach(t));
    CHECK_RC(pthread_tryjoin_np(t, NULL), EBUSY);
    bump(&release_it);
    printf("timeouts %d, joined %d\n", timeouts, joined + 1);
    return 0;
}
