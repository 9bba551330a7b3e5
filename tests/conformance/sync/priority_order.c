// Real-time threads that wait for the same object are woken by priority, not in order of arrival:
// mutex, condition variable, semaphore, plain futex; the policy that main set before its first
// thread is inherited.  Whether a thread waits already cannot be known, so the order has to be
// right in one round at least; by arrival it would never be.
// expect: fibers>=3
#include <linux/futex.h>
#include <semaphore.h>
#include <sys/syscall.h>

#include "switching.h"

enum { kThreads = 3, kRounds = 6, kKinds = 4 };
static const int kPriorities[kThreads] = {5, 10, 20};

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER, c_m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static sem_t s;
static int word, kind, entered, woken, order[kThreads];

static void* waits(void* index) {
    struct sched_param p;
    int policy;
    CHECK_OK(pthread_getschedparam(pthread_self(), &policy, &p));
    CHECK_EQ(policy, SCHED_FIFO);
    CHECK_EQ(p.sched_priority, kPriorities[(long)index]);
    bump(&entered);
    switch (kind) {
        case 0:
            CHECK_OK(pthread_mutex_lock(&m));
            break;
        case 1:
            CHECK_OK(pthread_mutex_lock(&c_m));
            CHECK_OK(pthread_cond_wait(&c, &c_m));
            break;
        case 2:
            while (sem_wait(&s) != 0) CHECK_EQ(errno, EINTR);
            break;
        default:
            syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL);
            break;
    }
    order[__atomic_fetch_add(&woken, 1, __ATOMIC_ACQ_REL)] = p.sched_priority;
    if (kind == 0) CHECK_OK(pthread_mutex_unlock(&m));
    if (kind == 1) CHECK_OK(pthread_mutex_unlock(&c_m));
    return NULL;
}

static void wake_one(int before) {
    if (kind == 2) CHECK_EQ(sem_post(&s), 0);  // never lost
    while (__atomic_load_n(&woken, __ATOMIC_ACQUIRE) <= before) {
        if (kind == 1) CHECK_OK(pthread_cond_signal(&c));
        if (kind == 3) syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1);
        for (int i = 0; i < 50 && __atomic_load_n(&woken, __ATOMIC_ACQUIRE) <= before; i++)
            usleep(1000);
    }
}

static int one_round(void) {
    pthread_t t[kThreads];
    woken = entered = 0;
    if (kind == 0) CHECK_OK(pthread_mutex_lock(&m));
    for (long i = 0; i < kThreads; i++) {
        pthread_attr_t a;
        struct sched_param p = {.sched_priority = kPriorities[i]};
        CHECK_OK(pthread_attr_init(&a));
        CHECK_OK(pthread_attr_setinheritsched(&a, PTHREAD_EXPLICIT_SCHED));
        CHECK_OK(pthread_attr_setschedpolicy(&a, SCHED_FIFO));
        CHECK_OK(pthread_attr_setschedparam(&a, &p));
        CHECK_OK(pthread_create(&t[i], &a, waits, (void*)i));
        wait_for(&entered, (int)i + 1);
        likely_blocked();
    }
    if (kind == 0)
        CHECK_OK(pthread_mutex_unlock(&m));
    else
        for (int i = 0; i < kThreads; i++) wake_one(i);
    for (int i = 0; i < kThreads; i++) join(t[i]);
    return order[0] == 20 && order[1] == 10 && order[2] == 5;
}

static void* inherits(void* unused) {
    (void)unused;
    struct sched_param p;
    int policy;
    CHECK_OK(pthread_getschedparam(pthread_self(), &policy, &p));
    printf("inherited policy %d priority %d\n", policy, p.sched_priority);
    return NULL;
}

int main(void) {
    struct sched_param p = {.sched_priority = 1};
    if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &p) != 0)
        SKIP("real-time policies need the right to them");
    CHECK_EQ(sem_init(&s, 0, 0), 0);
    join(spawn(inherits, NULL));
    for (kind = 0; kind < kKinds; kind++) {
        int right = 0;
        for (int r = 0; r < kRounds && right == 0; r++) right = one_round();
        printf("kind %d by priority %d\n", kind, right);
    }
    return 0;
}
