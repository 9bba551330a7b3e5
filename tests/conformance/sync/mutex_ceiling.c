// Priority-ceiling mutexes: locking raises the scheduling class, which the system allows or not;
// the answer is printed and must not depend on there being threads. Where it is allowed, exclusion
// is checked.
#include "switching.h"

static pthread_mutex_t m;
static long counter;

static void* tries(void* unused) {
    (void)unused;
    return (void*)(long)pthread_mutex_trylock(&m);
}
static void* counts(void* unused) {
    (void)unused;
    for (int i = 0; i < 200; i++) {
        CHECK_OK(pthread_mutex_lock(&m));
        counter++;
        CHECK_OK(pthread_mutex_unlock(&m));
    }
    return NULL;
}

int main(void) {
    pthread_mutexattr_t a;
    CHECK_OK(pthread_mutexattr_init(&a));
    CHECK_OK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_PROTECT));
    CHECK_OK(pthread_mutexattr_setprioceiling(&a, 3));
    CHECK_OK(pthread_mutex_init(&m, &a));
    int rc = pthread_mutex_lock(&m), old = -1;
    printf("lock: %s\n", rc ? strerrorname_np(rc) : "allowed");
    if (rc == 0) {
        CHECK_EQ((long)join(spawn(tries, NULL)), EBUSY);
        CHECK_OK(pthread_mutex_unlock(&m));
        CHECK_OK(pthread_mutex_setprioceiling(&m, 5, &old));
        CHECK_EQ(old, 3);
        pthread_t t[3];
        for (int i = 0; i < 3; i++) t[i] = spawn(counts, NULL);
        for (int i = 0; i < 3; i++) join(t[i]);
        int policy;
        struct sched_param p;
        CHECK_OK(pthread_getschedparam(pthread_self(), &policy, &p));
        CHECK_EQ(policy, SCHED_OTHER);  // given back at the unlock
        printf("counter %ld\n", counter);
    }
    CHECK_OK(pthread_mutex_destroy(&m));
    return 0;
}
