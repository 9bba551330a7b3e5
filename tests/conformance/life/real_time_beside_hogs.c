// A real-time thread needs no turn among ordinary ones: while more of them compute than there are
// processors, it runs before the call that wakes it returns, and one that is made real-time while
// it runs is from then on, until it is made ordinary again.  All on one CPU.
// expect: fibers>=7 beside>=2
#include <semaphore.h>

#include "switching.h"

enum { kHogs = 5, kRounds = 20 };
static sem_t s, to_become, became;
static int ran, stop;
static const struct sched_param kNone = {.sched_priority = 0}, kReal = {.sched_priority = 10};

static void* computes(void* unused) {
    while (__atomic_load_n(&stop, __ATOMIC_ACQUIRE) == 0) {
    }
    return unused;
}

static void wait_on(sem_t* semaphore) {
    while (sem_wait(semaphore) != 0) CHECK_EQ(errno, EINTR);
}

static void* waits(void* unused) {
    for (;;) {
        wait_on(&s);
        if (__atomic_load_n(&stop, __ATOMIC_ACQUIRE) != 0) return unused;
        bump(&ran);
    }
}

// Whether it runs before sem_post returns, in one round at least: somebody else's real-time thread
// may have the CPU for a moment.
static int is_at_once(void) {
    int right = 0;
    for (int i = 0; i < kRounds; i++) {
        const int before = __atomic_load_n(&ran, __ATOMIC_ACQUIRE);
        CHECK_EQ(sem_post(&s), 0);
        right += __atomic_load_n(&ran, __ATOMIC_ACQUIRE) == before + 1;
        while (__atomic_load_n(&ran, __ATOMIC_ACQUIRE) == before) sched_yield();
    }
    return right > 0;
}

static int policy_of(pthread_t thread) {
    int policy;
    struct sched_param p;
    CHECK_OK(pthread_getschedparam(thread, &policy, &p));
    return policy;
}

static void* becomes(void* unused) {
    CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_RR, &kReal));
    CHECK_EQ(sem_post(&became), 0);
    wait_on(&to_become);
    CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_OTHER, &kNone));
    CHECK_EQ(sem_post(&became), 0);
    return computes(unused);
}

static void* posts(void* unused) {
    pthread_attr_t a;
    pthread_t t;
    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_setinheritsched(&a, PTHREAD_EXPLICIT_SCHED));
    CHECK_OK(pthread_attr_setschedpolicy(&a, SCHED_FIFO));
    CHECK_OK(pthread_attr_setschedparam(&a, &kReal));
    CHECK_OK(pthread_create(&t, &a, waits, NULL));
    printf("made real-time: at once %d\n", is_at_once());
    // Ordinary and back, from outside, while it waits.
    CHECK_OK(pthread_setschedparam(t, SCHED_OTHER, &kNone));
    is_at_once();
    CHECK_OK(pthread_setschedparam(t, SCHED_RR, &kReal));
    is_at_once();
    printf("again: policy %d at once %d\n", policy_of(t) == SCHED_RR, is_at_once());
    (void)unused;
    return (void*)t;
}

int main(void) {
    cpu_set_t allowed, one;
    pthread_t hogs[kHogs], t;
    if (sched_setscheduler(0, SCHED_FIFO, &kReal) != 0)
        SKIP("real-time policies need the right to them");
    CHECK_EQ(sched_setscheduler(0, SCHED_OTHER, &kNone), 0);
    CHECK_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &allowed)) CPU_SET(i, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    CHECK_EQ(sem_init(&s, 0, 0) | sem_init(&became, 0, 0) | sem_init(&to_become, 0, 0), 0);
    for (int i = 0; i < kHogs; i++) hogs[i] = spawn(computes, NULL);
    const pthread_t waiter = (pthread_t)join(spawn(posts, NULL));
    // A running thread that makes itself real-time and ordinary again, as one of many.
    t = spawn(becomes, NULL);
    wait_on(&became);
    printf("became %d\n", policy_of(t));
    CHECK_EQ(sem_post(&to_become), 0);
    wait_on(&became);
    printf("became %d\n", policy_of(t));
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    CHECK_EQ(sem_post(&s), 0);
    join(waiter);
    join(t);
    for (int i = 0; i < kHogs; i++) join(hogs[i]);
    return 0;
}
