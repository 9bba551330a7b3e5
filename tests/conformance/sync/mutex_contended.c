// expect: fibers>=8
// Counters under every kind of mutex, with owners that give up the processor inside: an update is
// lost or two owners meet if exclusion fails.
#include "switching.h"

enum { kThreads = 8, kRounds = 3000 };

struct shared {
    pthread_mutex_t m;
    int kind;
    long counter;
    pthread_t owner;
    int inside;
    long by_try;
};

static void* worker(void* argument) {
    struct shared* s = argument;
    for (int i = 0; i < kRounds; i++) {
        if (i % 8 == 7) {
            // Spins politely: trylock must succeed at last.
            while (pthread_mutex_trylock(&s->m) != 0) sched_yield();
            s->by_try++;
        } else if (i % 8 == 3) {
            struct timespec far = clock_after(CLOCK_REALTIME, 600000);
            CHECK_OK(pthread_mutex_timedlock(&s->m, &far));
        } else {
            CHECK_OK(pthread_mutex_lock(&s->m));
        }
        CHECK_EQ(s->inside, 0);
        s->inside = 1;
        s->owner = pthread_self();
        long seen = s->counter;
        if (i % 64 == 0) sched_yield();
        if (i % 512 == 0) usleep(1);
        if (s->kind == PTHREAD_MUTEX_RECURSIVE) {
            CHECK_OK(pthread_mutex_lock(&s->m));
            CHECK_OK(pthread_mutex_unlock(&s->m));
        }
        CHECK(pthread_equal(s->owner, pthread_self()));
        s->counter = seen + 1;
        s->inside = 0;
        CHECK_OK(pthread_mutex_unlock(&s->m));
    }
    return NULL;
}

int main(void) {
    static const int kinds[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE,
                                PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP};
    for (unsigned k = 0; k < 4; k++) {
        struct shared s = {.kind = kinds[k]};
        pthread_mutexattr_t a;
        CHECK_OK(pthread_mutexattr_init(&a));
        CHECK_OK(pthread_mutexattr_settype(&a, kinds[k]));
        CHECK_OK(pthread_mutex_init(&s.m, &a));
        pthread_t t[kThreads];
        for (int i = 0; i < kThreads; i++) t[i] = spawn(worker, &s);
        for (int i = 0; i < kThreads; i++) join(t[i]);
        CHECK_EQ(s.counter, (long)kThreads * kRounds);
        printf("kind %u: %ld, by trylock %ld\n", k, s.counter, s.by_try);
        CHECK_OK(pthread_mutex_destroy(&s.m));
    }
    return 0;
}
