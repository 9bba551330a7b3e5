// expect: fibers>=8
// Signals and broadcasts, counted: a signal wakes at least one of those who wait, a broadcast all,
// a signal with nobody waiting is not remembered, and the mutex is held again on return. Static and
// dynamic conditions, every kind of mutex.
#include "switching.h"

enum { kWaiters = 8 };
struct group {
    pthread_mutex_t m;
    pthread_cond_t c;
    int waiting, tickets, served, generation;
};

static void* takes_ticket(void* argument) {
    struct group* g = argument;
    CHECK_OK(pthread_mutex_lock(&g->m));
    g->waiting++;
    while (g->tickets == 0) CHECK_OK(pthread_cond_wait(&g->c, &g->m));
    g->waiting--;
    g->tickets--;
    g->served++;
    CHECK_OK(pthread_mutex_unlock(&g->m));
    return NULL;
}

static void* waits_generation(void* argument) {
    struct group* g = argument;
    CHECK_OK(pthread_mutex_lock(&g->m));
    for (int want = 1; want <= 20; want++) {
        g->waiting++;
        while (g->generation < want) CHECK_OK(pthread_cond_wait(&g->c, &g->m));
        CHECK_EQ(pthread_mutex_trylock(&g->m), EBUSY);
        g->served++;
    }
    CHECK_OK(pthread_mutex_unlock(&g->m));
    return NULL;
}

static void until(struct group* g, int* what, int value) {
    for (;;) {
        CHECK_OK(pthread_mutex_lock(&g->m));
        int now = *what;
        CHECK_OK(pthread_mutex_unlock(&g->m));
        if (now == value) return;
        usleep(200);
    }
}

static void check(struct group* g) {
    pthread_t t[kWaiters];
    for (int i = 0; i < kWaiters; i++) t[i] = spawn(takes_ticket, g);
    until(g, &g->waiting, kWaiters);
    for (int i = 1; i <= kWaiters; i++) {
        CHECK_OK(pthread_mutex_lock(&g->m));
        g->tickets++;
        if (i % 2) {
            CHECK_OK(pthread_cond_signal(&g->c));
            CHECK_OK(pthread_mutex_unlock(&g->m));
        } else {
            CHECK_OK(pthread_mutex_unlock(&g->m));
            CHECK_OK(pthread_cond_signal(&g->c));
        }
        until(g, &g->served, i);
    }
    for (int i = 0; i < kWaiters; i++) join(t[i]);
    // Nobody waits: gone.
    for (int i = 0; i < 3; i++) CHECK_OK(pthread_cond_signal(&g->c));
    CHECK_OK(pthread_cond_broadcast(&g->c));
    CHECK_OK(pthread_mutex_lock(&g->m));
    struct timespec soon = clock_after(CLOCK_REALTIME, 20);
    int rc;
    while ((rc = pthread_cond_timedwait(&g->c, &g->m, &soon)) == 0) continue;
    CHECK_RC(rc, ETIMEDOUT);
    CHECK(time_reached(CLOCK_REALTIME, soon));
    CHECK_OK(pthread_mutex_unlock(&g->m));

    g->served = g->waiting = 0;
    for (int i = 0; i < kWaiters; i++) t[i] = spawn(waits_generation, g);
    for (int want = 1; want <= 20; want++) {
        until(g, &g->waiting, kWaiters * want);
        CHECK_OK(pthread_mutex_lock(&g->m));
        g->generation = want;
        CHECK_OK(pthread_cond_broadcast(&g->c));
        CHECK_OK(pthread_mutex_unlock(&g->m));
        until(g, &g->served, kWaiters * want);
    }
    for (int i = 0; i < kWaiters; i++) join(t[i]);
    printf("served %d\n", g->served);
    CHECK_OK(pthread_cond_destroy(&g->c));
    CHECK_OK(pthread_mutex_destroy(&g->m));
}

int main(void) {
    struct group fixed = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0};
    check(&fixed);
    for (int kind = 0; kind < 4; kind++) {
        struct group g = {0};
        pthread_mutexattr_t a;
        CHECK_OK(pthread_mutexattr_init(&a));
        // A trylock by the owner of a recursive mutex succeeds, so that kind has its own program.
        CHECK_OK(pthread_mutexattr_settype(
            &a, kind == PTHREAD_MUTEX_RECURSIVE ? PTHREAD_MUTEX_NORMAL : kind));
        CHECK_OK(pthread_mutex_init(&g.m, &a));
        CHECK_OK(pthread_cond_init(&g.c, NULL));
        check(&g);
    }
    return 0;
}
