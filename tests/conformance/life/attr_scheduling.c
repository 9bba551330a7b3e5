// A policy in the attributes is the thread's from its first instruction; without one it inherits
// its creator's.
// expect: native_fallbacks=0
#include <sys/resource.h>

#include "switching.h"

static int policy_of(void) {
    int policy = -1;
    struct sched_param p;
    CHECK_OK(pthread_getschedparam(pthread_self(), &policy, &p));
    CHECK_EQ(sched_getscheduler(0), policy);
    return policy * 100 + p.sched_priority;
}

static void* tells(void* unused) {
    (void)unused;
    sched_yield();
    return (void*)(long)policy_of();
}

static void* creates(void* unused) {
    (void)unused;
    CHECK_EQ(policy_of(), SCHED_RR * 100 + 7);
    return join(spawn(tells, NULL));
}

int main(void) {
    pthread_attr_t a;
    struct sched_param p = {.sched_priority = 7};
    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_setschedpolicy(&a, SCHED_RR));
    CHECK_OK(pthread_attr_setschedparam(&a, &p));
    pthread_t t;
    CHECK_OK(pthread_create(&t, &a, tells, NULL));  // inherits: the attributes are not looked at
    printf("inherited %ld\n", (long)join(t));
    CHECK_OK(pthread_attr_setinheritsched(&a, PTHREAD_EXPLICIT_SCHED));
    int rc = pthread_create(&t, &a, creates, NULL);
    printf("explicit %s %ld\n", rc == 0 ? "made" : strerror(rc), rc == 0 ? (long)join(t) : 0);
    printf("afterwards %ld\n", (long)join(spawn(tells, NULL)));
    return 0;
}
