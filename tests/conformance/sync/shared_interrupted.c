// Waits on process-shared objects: directed signals run their handlers meanwhile and the wait goes
// on; a cancellation ends the wait for a condition with the mutex held, takes no signal away from
// others, and ends no wait that is not a cancellation point.
// expect: fibers>=40
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>

#include "switching.h"

enum { kMutexes = 6, kSignals = 10 };

struct shared {
    pthread_mutex_t
        m[kMutexes];  // normal, recursive, errorcheck, robust, inherit, robust recursive
    pthread_rwlock_t rw;
    pthread_barrier_t b;
    pthread_cond_t c;
    sem_t sem;
};
static struct shared* s;
static int handled, entered, cleaned, served, tokens;

static void counts(int signal) {
    (void)signal;
    bump(&handled);
}

static void make_shared(void) {
    s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(s != MAP_FAILED);
    for (int i = 0; i < kMutexes; i++) {
        static const int types[] = {PTHREAD_MUTEX_NORMAL,     PTHREAD_MUTEX_RECURSIVE,
                                    PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_NORMAL,
                                    PTHREAD_MUTEX_NORMAL,     PTHREAD_MUTEX_RECURSIVE};
        pthread_mutexattr_t a;
        CHECK_OK(pthread_mutexattr_init(&a));
        CHECK_OK(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
        CHECK_OK(pthread_mutexattr_settype(&a, types[i]));
        if (i == 3 || i == 5) CHECK_OK(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
        if (i == 4) CHECK_OK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
        CHECK_OK(pthread_mutex_init(&s->m[i], &a));
    }
    pthread_rwlockattr_t ra;
    CHECK_OK(pthread_rwlockattr_init(&ra));
    CHECK_OK(pthread_rwlockattr_setpshared(&ra, PTHREAD_PROCESS_SHARED));
    CHECK_OK(pthread_rwlock_init(&s->rw, &ra));
    pthread_barrierattr_t ba;
    CHECK_OK(pthread_barrierattr_init(&ba));
    CHECK_OK(pthread_barrierattr_setpshared(&ba, PTHREAD_PROCESS_SHARED));
    CHECK_OK(pthread_barrier_init(&s->b, &ba, 2));
    pthread_condattr_t ca;
    CHECK_OK(pthread_condattr_init(&ca));
    CHECK_OK(pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED));
    CHECK_OK(pthread_cond_init(&s->c, &ca));
    CHECK_EQ(sem_init(&s->sem, 1, 0), 0);
}

static void* locks(void* mutex) {
    bump(&entered);
    CHECK_OK(pthread_mutex_lock(mutex));
    CHECK_OK(pthread_mutex_unlock(mutex));
    return NULL;
}
static void* locks_timed(void* mutex) {
    struct timespec limit = clock_after(CLOCK_REALTIME, 60000);
    bump(&entered);
    CHECK_OK(pthread_mutex_timedlock(mutex, &limit));
    CHECK_OK(pthread_mutex_unlock(mutex));
    return NULL;
}
static void* reads(void* unused) {
    (void)unused;
    bump(&entered);
    CHECK_OK(pthread_rwlock_rdlock(&s->rw));
    CHECK_OK(pthread_rwlock_unlock(&s->rw));
    return NULL;
}
static void* writes(void* unused) {
    (void)unused;
    bump(&entered);
    CHECK_OK(pthread_rwlock_wrlock(&s->rw));
    CHECK_OK(pthread_rwlock_unlock(&s->rw));
    return NULL;
}
static void* meets(void* unused) {
    (void)unused;
    bump(&entered);
    CHECK_RC(pthread_barrier_wait(&s->b), 0);
    return NULL;
}

static pthread_t waiting(void* (*body)(void*), void* argument) {
    entered = 0;
    pthread_t t = spawn(body, argument);
    wait_for(&entered, 1);
    likely_blocked();
    return t;
}
static void bombard(pthread_t t) {
    for (int i = 0; i < kSignals; i++) {
        int before = handled;
        CHECK_OK(pthread_kill(t, SIGUSR1));
        wait_for(&handled, before + 1);
    }
}

static void cleanup(void* mutex) {
    int rc = pthread_mutex_trylock(mutex);  // held by this thread
    if (rc == 0) CHECK_OK(pthread_mutex_unlock(mutex));
    CHECK(rc == EBUSY || rc == 0);  // 0: recursive
    cleaned++;
    CHECK_OK(pthread_mutex_unlock(mutex));
}
struct wish {
    pthread_mutex_t* mutex;
    int timed;
};
static void* awaits(void* argument) {
    struct wish* wish = argument;
    struct timespec limit = clock_after(CLOCK_REALTIME, 60000);
    CHECK_OK(pthread_mutex_lock(wish->mutex));
    pthread_cleanup_push(cleanup, wish->mutex);
    entered++;
    while (tokens == 0) {
        int rc = wish->timed ? pthread_cond_timedwait(&s->c, wish->mutex, &limit)
                             : pthread_cond_wait(&s->c, wish->mutex);
        CHECK_RC(rc, 0);
    }
    tokens--;
    served++;
    pthread_cleanup_pop(0);
    CHECK_OK(pthread_mutex_unlock(wish->mutex));
    return NULL;
}
static void* posts_after_wait(void* unused) {
    (void)unused;
    bump(&entered);
    while (sem_wait(&s->sem) != 0) CHECK_EQ(errno, EINTR);
    return NULL;
}

static void conditions(int which, int timed) {
    enum { kWaiters = 6 };
    struct wish wish = {&s->m[which], timed};
    pthread_t t[kWaiters];
    entered = 0;
    for (int i = 0; i < kWaiters; i++) t[i] = spawn(awaits, &wish);
    for (int n = 0; n < kWaiters;) {
        CHECK_OK(pthread_mutex_lock(wish.mutex));
        n = entered;
        CHECK_OK(pthread_mutex_unlock(wish.mutex));
        usleep(200);
    }
    bombard(t[0]);
    bombard(t[1]);
    int before = cleaned;
    CHECK_OK(pthread_mutex_lock(wish.mutex));
    for (int i = 0; i < kWaiters; i += 2) CHECK_OK(pthread_cancel(t[i]));
    likely_blocked();
    CHECK_EQ(cleaned, before);  // they need the mutex
    CHECK_OK(pthread_mutex_unlock(wish.mutex));
    for (int i = 0; i < kWaiters; i += 2) CHECK_EQ(join(t[i]), PTHREAD_CANCELED);
    for (int i = 1; i < kWaiters; i += 2) {
        CHECK_OK(pthread_mutex_lock(wish.mutex));
        tokens++;
        CHECK_OK(pthread_cond_signal(&s->c));
        CHECK_OK(pthread_mutex_unlock(wish.mutex));
    }
    for (int i = 1; i < kWaiters; i += 2) CHECK_EQ(join(t[i]), NULL);
}

int main(void) {
    make_shared();
    struct sigaction a = {.sa_handler = counts, .sa_flags = SA_RESTART};
    CHECK_EQ(sigaction(SIGUSR1, &a, NULL), 0);
    for (int i = 0; i < kMutexes; i++) {
        void* (*bodies[])(void*) = {locks, locks_timed};
        for (int k = 0; k < 2; k++) {
            CHECK_OK(pthread_mutex_lock(&s->m[i]));
            pthread_t t = waiting(bodies[k], &s->m[i]);
            bombard(t);
            CHECK_OK(pthread_cancel(t));  // no cancellation point
            CHECK_OK(pthread_mutex_unlock(&s->m[i]));
            CHECK_EQ(join(t), NULL);
        }
    }
    void* (*bodies[])(void*) = {reads, writes};
    for (int k = 0; k < 2; k++) {
        CHECK_OK(pthread_rwlock_wrlock(&s->rw));
        pthread_t t = waiting(bodies[k], NULL);
        bombard(t);
        CHECK_OK(pthread_rwlock_unlock(&s->rw));
        CHECK_EQ(join(t), NULL);
    }
    pthread_t t = waiting(meets, NULL);
    bombard(t);
    CHECK_RC(pthread_barrier_wait(&s->b), PTHREAD_BARRIER_SERIAL_THREAD);
    CHECK_EQ(join(t), NULL);
    for (int i = 0; i < kMutexes; i++)
        for (int timed = 0; timed < 2; timed++) conditions(i, timed);
    t = waiting(posts_after_wait, NULL);
    bombard(t);
    CHECK_EQ(sem_post(&s->sem), 0);
    CHECK_EQ(join(t), NULL);
    t = waiting(posts_after_wait, NULL);
    CHECK_OK(pthread_cancel(t));
    CHECK_EQ(join(t), PTHREAD_CANCELED);
    printf("handled %d, cleaned %d, served %d\n", handled, cleaned, served);
    return 0;
}
