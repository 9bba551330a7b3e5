// A process-shared robust mutex with priority inheritance whose owner's thread ends: whoever waits
// for it, or comes later, is told EOWNERDEAD; not made consistent, it is lost to the others.
// expect: fibers>=8
#include "switching.h"

static pthread_mutex_t mutex;
static int held, waiting;

static void* dies(void* when) {
    CHECK_OK(pthread_mutex_lock(&mutex));
    bump(&held);
    if (when != NULL) {
        wait_for(&waiting, 1);
        likely_blocked();
    }
    return NULL;
}

static void* inherits(void* recovers) {
    bump(&waiting);
    CHECK_RC(pthread_mutex_lock(&mutex), EOWNERDEAD);
    if (recovers != NULL) CHECK_OK(pthread_mutex_consistent(&mutex));
    CHECK_OK(pthread_mutex_unlock(&mutex));
    return (void*)1L;
}

int main(void) {
    pthread_mutexattr_t a;
    CHECK_OK(pthread_mutexattr_init(&a));
    CHECK_OK(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
    CHECK_OK(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
    CHECK_OK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
    long told = 0;
    for (int round = 0; round < 4; round++) {
        CHECK_OK(pthread_mutex_init(&mutex, &a));
        held = waiting = 0;
        long waits = round % 2, recovers = round / 2;
        pthread_t owner = spawn(dies, (void*)waits);
        wait_for(&held, 1);
        if (!waits) join(owner);
        told += (long)join(spawn(inherits, (void*)recovers));
        if (waits) join(owner);
        CHECK_RC(pthread_mutex_trylock(&mutex), recovers ? 0 : ENOTRECOVERABLE);
        if (recovers) CHECK_OK(pthread_mutex_unlock(&mutex));
        CHECK_OK(pthread_mutex_destroy(&mutex));
    }
    printf("told %ld\n", told);
    return 0;
}
