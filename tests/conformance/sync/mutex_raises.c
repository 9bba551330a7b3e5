// A real-time thread runs at the highest ceiling of the mutexes that it holds: sched_getparam tells
// that, pthread_getschedparam its own priority.  Where such policies are not allowed, only the
// refusal is compared.
#include <sched.h>
#include <sys/syscall.h>

#include "switching.h"

enum { kOwn = 4 };
static pthread_mutex_t low, middle, high;

static void tell(const char* when) {
    struct sched_param own, raised;
    int policy;
    CHECK_OK(pthread_getschedparam(pthread_self(), &policy, &own));
    CHECK_EQ(policy, SCHED_FIFO);
    CHECK_EQ(syscall(SYS_sched_getparam, (pid_t)syscall(SYS_gettid), &raised), 0);
    struct sched_param again;
    CHECK_EQ(sched_getparam(0, &again), 0);
    CHECK_EQ(again.sched_priority, raised.sched_priority);
    printf("%s: %d, raised to %d\n", when, own.sched_priority, raised.sched_priority);
}

static void make(pthread_mutex_t* mutex, int ceiling) {
    pthread_mutexattr_t a;
    CHECK_OK(pthread_mutexattr_init(&a));
    CHECK_OK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_PROTECT));
    CHECK_OK(pthread_mutexattr_setprioceiling(&a, ceiling));
    CHECK_OK(pthread_mutex_init(mutex, &a));
}

static int set_own(int priority) {
    struct sched_param p = {.sched_priority = priority};
    return pthread_setschedparam(pthread_self(), SCHED_FIFO, &p);
}

// In vain, while another thread holds it.
static void* tries(void* unused) {
    (void)unused;
    CHECK_OK(set_own(kOwn));
    CHECK_RC(pthread_mutex_trylock(&high), EBUSY);
    tell("tried");
    return NULL;
}

static void* raised(void* unused) {
    (void)unused;
    const int rc = set_own(kOwn);
    if (rc != 0) {
        printf("refused: %s\n", strerrorname_np(rc));
        return NULL;
    }
    tell("at first");
    CHECK_OK(pthread_mutex_lock(&middle));
    tell("middle");
    CHECK_OK(pthread_mutex_trylock(&high));
    tell("middle and high");
    move_about(3);
    CHECK_OK(pthread_mutex_lock(&low));
    tell("all");
    join(spawn(tries, NULL));
    CHECK_OK(pthread_mutex_unlock(&high));
    tell("low and middle");
    CHECK_OK(pthread_mutex_unlock(&middle));
    tell("low");
    CHECK_OK(pthread_mutex_unlock(&low));
    tell("none");
    CHECK_OK(pthread_mutex_lock(&middle));
    CHECK_OK(set_own(kOwn + 1));
    tell("middle, another priority");
    CHECK_OK(set_own(kOwn + 4));
    tell("middle, a higher priority than that");
    CHECK_OK(pthread_mutex_unlock(&middle));
    tell("none");
    printf("low: %s\n", strerrorname_np(pthread_mutex_lock(&low)));
    tell("none");
    return NULL;
}

int main(void) {
    make(&low, kOwn + 1);
    make(&middle, kOwn + 2);
    make(&high, kOwn + 5);
    raised(NULL);  // makes the first other thread half-way
    struct sched_param p = {0};
    CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_OTHER, &p));
    join(spawn(raised, NULL));
    return 0;
}
