// Spin locks: exclusion with more threads than processors and owners that yield inside, trylock
// EBUSY also for the owner.
#include "switching.h"

enum { kThreads = 6, kRounds = 2000 };
static pthread_spinlock_t s;
static long counter;
static int inside;

static void* body(void* unused) {
    (void)unused;
    for (int i = 0; i < kRounds; i++) {
        if (i % 3 == 0)
            while (pthread_spin_trylock(&s) != 0) sched_yield();
        else
            CHECK_OK(pthread_spin_lock(&s));
        CHECK_EQ(inside++, 0);
        long seen = counter;
        if (i % 500 == 0) sched_yield();  // the owner is gone while others spin
        counter = seen + 1;
        CHECK_EQ(--inside, 0);
        CHECK_OK(pthread_spin_unlock(&s));
    }
    return NULL;
}
static void* tries(void* unused) {
    (void)unused;
    return (void*)(long)pthread_spin_trylock(&s);
}

int main(void) {
    for (int shared = 0; shared <= 1; shared++) {
        CHECK_OK(pthread_spin_init(&s, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE));
        counter = 0;
        CHECK_OK(pthread_spin_lock(&s));
        CHECK_RC(pthread_spin_trylock(&s), EBUSY);
        CHECK_EQ((long)join(spawn(tries, NULL)), EBUSY);
        CHECK_OK(pthread_spin_unlock(&s));
        pthread_t t[kThreads];
        for (int i = 0; i < kThreads; i++) t[i] = spawn(body, NULL);
        for (int i = 0; i < kThreads; i++) join(t[i]);
        CHECK_OK(pthread_spin_destroy(&s));
        printf("%ld\n", counter);
    }
    return 0;
}
