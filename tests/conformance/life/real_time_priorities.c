// On one CPU the real-time thread of the highest priority runs, whoever creates, raises or wakes
// it: before the creator's, raiser's or waker's call returns; a lower one not before they wait.
// Equals take turns by sched_yield, or by the slices of SCHED_RR.  A throttled or delayed thread
// may spoil a round, so each order has to be right in one of them; by queues it would never be.
// expect: fibers>=8 beside>=8
#include <semaphore.h>

#include "switching.h"

enum { kLow = 5, kOwn = 10, kHigh = 20, kRounds = 20, kTurns = 10 };
static sem_t s;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int ends[2], ran;

static int has_run(void) { return __atomic_load_n(&ran, __ATOMIC_ACQUIRE); }

static pthread_t create(int policy, int priority, void* (*body)(void*), void* argument) {
    pthread_attr_t a;
    pthread_t t;
    struct sched_param p = {.sched_priority = priority};
    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_setinheritsched(&a, PTHREAD_EXPLICIT_SCHED));
    CHECK_OK(pthread_attr_setschedpolicy(&a, policy));
    CHECK_OK(pthread_attr_setschedparam(&a, &p));
    CHECK_OK(pthread_create(&t, &a, body, argument));
    CHECK_OK(pthread_attr_destroy(&a));
    return t;
}

static void* runs(void* unused) {
    bump(&ran);
    return unused;
}

static int created_higher(void) {
    ran = 0;
    pthread_t t = create(SCHED_FIFO, kHigh, runs, NULL);
    const int right = has_run();
    join(t);
    return right;
}

static int created_lower(void) {
    ran = 0;
    pthread_t t = create(SCHED_FIFO, kLow, runs, NULL);
    for (int i = 0; i < 20; i++) sched_yield();
    const int right = !has_run();
    join(t);
    return right && has_run();
}

static int raised(void) {
    struct sched_param p = {.sched_priority = kHigh};
    ran = 0;
    pthread_t t = create(SCHED_FIFO, kLow, runs, NULL);
    int right = !has_run();
    CHECK_OK(pthread_setschedparam(t, SCHED_FIFO, &p));
    right &= has_run();
    join(t);
    return right;
}

// Four waits; between them it is at its priority, so it is in the next one when its waker goes on.
static void* waits(void* unused) {
    char byte;
    while (sem_wait(&s) != 0) CHECK_EQ(errno, EINTR);
    bump(&ran);
    CHECK_OK(pthread_mutex_lock(&m));
    bump(&ran);
    while (ran < 3) CHECK_OK(pthread_cond_wait(&c, &m));
    CHECK_OK(pthread_mutex_unlock(&m));
    bump(&ran);
    CHECK_EQ(read(ends[0], &byte, 1), 1);
    bump(&ran);
    return unused;
}

static int woken(void) {
    ran = 0;
    pthread_t t = create(SCHED_FIFO, kHigh, waits, NULL);
    CHECK_OK(pthread_mutex_lock(&m));
    CHECK_EQ(sem_post(&s), 0);
    int right = has_run() == 1;
    CHECK_OK(pthread_mutex_unlock(&m));
    right &= has_run() == 2;
    wait_for(&ran, 2);
    CHECK_OK(pthread_mutex_lock(&m));
    ran = 3;
    CHECK_OK(pthread_cond_signal(&c));
    CHECK_OK(pthread_mutex_unlock(&m));
    right &= has_run() == 4;
    CHECK_EQ(write(ends[1], "x", 1), 1);
    right &= has_run() == 5;
    join(t);
    return right;
}

static int turns[2 * kTurns], turn;

static void* takes_turns(void* id) {
    for (int i = 0; i < kTurns; i++) {
        turns[__atomic_fetch_add(&turn, 1, __ATOMIC_ACQ_REL)] = (int)(long)id;
        sched_yield();
    }
    return NULL;
}

static int equals_yield(void) {
    turn = 0;
    pthread_t a = create(SCHED_FIFO, kLow, takes_turns, (void*)1);
    pthread_t b = create(SCHED_FIFO, kLow, takes_turns, (void*)2);
    join(a);
    join(b);
    int right = 1;
    for (int i = 1; i < 2 * kTurns; i++) right &= turns[i] != turns[i - 1];
    return right;
}

static int met[2];

static void* meets(void* id) {
    const int own = (int)(long)id;
    __atomic_store_n(&met[own], 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&met[1 - own], __ATOMIC_ACQUIRE) == 0) {
    }
    return NULL;
}

static int equals_spin(void) {
    met[0] = met[1] = 0;
    pthread_t a = create(SCHED_RR, kLow, meets, (void*)0);
    pthread_t b = create(SCHED_RR, kLow, meets, (void*)1);
    join(a);
    join(b);
    return 1;
}

static const struct {
    const char* what;
    int (*round)(void);
} kCases[] = {{"created higher", created_higher},
              {"created lower", created_lower},
              {"raised", raised},
              {"woken", woken},
              {"equals yield", equals_yield},
              {"equals spin", equals_spin}};

static void* all(void* unused) {
    for (unsigned i = 0; i < sizeof kCases / sizeof *kCases; i++) {
        int right = 0;
        for (int r = 0; r < kRounds && right == 0; r++) right = kCases[i].round();
        printf("%s %d\n", kCases[i].what, right);
    }
    return unused;
}

int main(void) {
    cpu_set_t allowed, one;
    struct sched_param p = {.sched_priority = kOwn}, ordinary = {0};
    if (sched_setscheduler(0, SCHED_FIFO, &p) != 0)
        SKIP("real-time policies need the right to them");
    CHECK_EQ(sched_setscheduler(0, SCHED_OTHER, &ordinary), 0);
    CHECK_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &allowed)) CPU_SET(i, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    CHECK_EQ(sem_init(&s, 0, 0), 0);
    CHECK_EQ(pipe(ends), 0);
    join(create(SCHED_FIFO, kOwn, all, NULL));
    return 0;
}
