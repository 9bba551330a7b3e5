// A thread ends with a robust mutex with priority inheritance while another waits for it: the
// waiter gets it and learns of the death, private or shared, whichever kernel thread the owner was
// on.
#include <semaphore.h>

#include "switching.h"

enum { kRounds = 4 };
static pthread_mutex_t m;
static sem_t locked;
static int waits;

static void* dies(void* unused) {
    CHECK_OK(pthread_mutex_lock(&m));
    CHECK_EQ(sem_post(&locked), 0);
    wait_for(&waits, 1);
    likely_blocked();
    return unused;
}

static void one_round(int shared) {
    pthread_mutexattr_t a;
    CHECK_OK(pthread_mutexattr_init(&a));
    CHECK_OK(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
    CHECK_OK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
    CHECK_OK(pthread_mutexattr_setpshared(&a, shared));
    CHECK_OK(pthread_mutex_init(&m, &a));
    waits = 0;
    pthread_t t = spawn(dies, NULL);
    while (sem_wait(&locked) != 0) CHECK_EQ(errno, EINTR);
    bump(&waits);
    CHECK_RC(pthread_mutex_lock(&m), EOWNERDEAD);
    CHECK_OK(pthread_mutex_consistent(&m));
    CHECK_OK(pthread_mutex_unlock(&m));
    CHECK_OK(pthread_mutex_lock(&m));
    CHECK_OK(pthread_mutex_unlock(&m));
    join(t);
    CHECK_OK(pthread_mutex_destroy(&m));
}

int main(void) {
    CHECK_EQ(sem_init(&locked, 0, 0), 0);
    for (int i = 0; i < kRounds; i++) {
        one_round(PTHREAD_PROCESS_PRIVATE);
        one_round(PTHREAD_PROCESS_SHARED);
    }
    printf("%d rounds\n", kRounds);
    return 0;
}
