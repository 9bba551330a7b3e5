// expect: fibers>=400
// 400 waiters on one condition: woken one by one, then by a broadcast, some with deadlines that
// expire in between. Everybody is woken exactly once for each reason.
#include "switching.h"

enum { kWaiters = 400 };
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER, idle = PTHREAD_COND_INITIALIZER;
static int waiting, tickets, got_ticket, phase, expired, broadcast_seen;

static void* body(void* n) {
    CHECK_OK(pthread_mutex_lock(&m));
    if (++waiting == kWaiters) CHECK_OK(pthread_cond_signal(&idle));
    if ((long)n % 4 == 0) {
        struct timespec t = clock_after(CLOCK_REALTIME, 1 + (long)n % 50);
        while (pthread_cond_timedwait(&c, &m, &t) == 0)
            if (tickets > 0) CHECK_OK(pthread_cond_signal(&c));  // not for me: hand it on
        CHECK(time_reached(CLOCK_REALTIME, t));
        expired++;
        // A signal may have gone to one that was leaving.
        if (tickets > 0) CHECK_OK(pthread_cond_signal(&c));
    } else {
        while (tickets == 0) CHECK_OK(pthread_cond_wait(&c, &m));
        tickets--;
        got_ticket++;
    }
    if (expired + got_ticket == kWaiters) CHECK_OK(pthread_cond_signal(&idle));
    while (phase == 0) CHECK_OK(pthread_cond_wait(&c, &m));
    broadcast_seen++;
    CHECK_OK(pthread_mutex_unlock(&m));
    return NULL;
}

int main(void) {
    pthread_attr_t a;
    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_setstacksize(&a, 64 << 10));
    static pthread_t t[kWaiters];
    for (long i = 0; i < kWaiters; i++) CHECK_OK(pthread_create(&t[i], &a, body, (void*)i));
    CHECK_OK(pthread_mutex_lock(&m));
    while (waiting < kWaiters) CHECK_OK(pthread_cond_wait(&idle, &m));
    for (int i = 0; i < kWaiters * 3 / 4; i++) {
        tickets++;
        CHECK_OK(pthread_cond_broadcast(&c));
        CHECK_OK(pthread_mutex_unlock(&m));
        if (i % 50 == 0) sched_yield();
        CHECK_OK(pthread_mutex_lock(&m));
    }
    while (expired + got_ticket < kWaiters) CHECK_OK(pthread_cond_wait(&idle, &m));
    phase = 1;
    CHECK_OK(pthread_cond_broadcast(&c));
    CHECK_OK(pthread_mutex_unlock(&m));
    for (int i = 0; i < kWaiters; i++) join(t[i]);
    printf("tickets %d, expired %d, broadcast %d, left over %d\n", got_ticket, expired,
           broadcast_seen, tickets);
    return 0;
}
