// Unnamed private semaphores: every call and error, exact counts, timed waits not early, EOVERFLOW,
// and the value seen by getvalue with threads waiting.
#include <limits.h>
#include <semaphore.h>

#include "switching.h"

static sem_t s;
static int taken;

static void* takes(void* n) {
    for (long i = 0; i < (long)n; i++) {
        CHECK_EQ(sem_wait(&s), 0);
        bump(&taken);
    }
    return NULL;
}

static int timed(int how, const struct timespec* t) {
    return how == 0   ? sem_timedwait(&s, t)
           : how == 1 ? sem_clockwait(&s, CLOCK_REALTIME, t)
                      : sem_clockwait(&s, CLOCK_MONOTONIC, t);
}

static void* posts_soon(void* unused) {
    (void)unused;
    likely_blocked();
    CHECK_EQ(sem_post(&s), 0);
    return NULL;
}

int main(void) {
    int v = -1;
    CHECK_ERRNO(sem_init(&s, 0, (unsigned)SEM_VALUE_MAX + 1u), EINVAL);
    CHECK_EQ(sem_init(&s, 0, SEM_VALUE_MAX), 0);
    CHECK_ERRNO(sem_post(&s), EOVERFLOW);
    CHECK_EQ(sem_getvalue(&s, &v), 0);
    CHECK_EQ(v, SEM_VALUE_MAX);
    CHECK_EQ(sem_wait(&s), 0);
    CHECK_EQ(sem_post(&s), 0);
    CHECK_EQ(sem_destroy(&s), 0);

    CHECK_EQ(sem_init(&s, 0, 2), 0);
    CHECK_EQ(sem_wait(&s), 0);
    CHECK_EQ(sem_trywait(&s), 0);
    CHECK_ERRNO(sem_trywait(&s), EAGAIN);
    int timeouts = 0;
    for (int how = 0; how < 3; how++) {
        clockid_t c = how == 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
        for (int ms = -5; ms <= 20; ms += 5) {
            struct timespec t = clock_after(c, ms);
            CHECK_ERRNO(timed(how, &t), ETIMEDOUT);
            CHECK(time_reached(c, t));
            timeouts++;
        }
        struct timespec bad = clock_after(c, 60000), far = bad, past = {-1, 0};
        bad.tv_nsec = 1000000000;
        CHECK_ERRNO(timed(how, &bad), EINVAL);
        CHECK_ERRNO(timed(how, &past), ETIMEDOUT);
        pthread_t p = spawn(posts_soon, NULL);
        CHECK_EQ(timed(how, &far), 0);
        join(p);
        CHECK_EQ(sem_post(&s), 0);
        CHECK_EQ(timed(how, &past), 0);  // free: the time does not matter
    }
    struct timespec t = clock_after(CLOCK_REALTIME, 10);
    CHECK_ERRNO(sem_clockwait(&s, CLOCK_PROCESS_CPUTIME_ID, &t), EINVAL);

    pthread_t w[4];
    for (int i = 0; i < 4; i++) w[i] = spawn(takes, (void*)250L);
    likely_blocked();
    CHECK_EQ(sem_getvalue(&s, &v), 0);
    CHECK_EQ(v, 0);  // waiters are not counted as negative
    CHECK_EQ(__atomic_load_n(&taken, __ATOMIC_ACQUIRE), 0);
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(sem_post(&s), 0);
        if (i % 100 == 0) {
            wait_for(&taken, i + 1);
            CHECK_EQ(__atomic_load_n(&taken, __ATOMIC_ACQUIRE), i + 1);
        }
    }
    for (int i = 0; i < 4; i++) join(w[i]);
    CHECK_EQ(sem_getvalue(&s, &v), 0);
    CHECK_EQ(v, 0);
    CHECK_EQ(sem_destroy(&s), 0);
    printf("timeouts %d, taken %d\n", timeouts, taken);
    return 0;
}
