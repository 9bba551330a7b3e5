// Threads that libc makes for itself (SIGEV_THREAD notifications) and threads of the program meet
// at every kind of object: mutexes of all kinds, conditions, rwlocks, barriers, semaphores, spin
// locks, once, futexes, C11 objects; nothing is lost, nobody is let in who should wait.
// expect: fibers>=5
// limit: 60
#include <linux/futex.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <threads.h>

#include "switching.h"

enum { kOwn = 5, kForeign = 3, kAll = kOwn + kForeign, kRounds = 300, kMutexes = 9 };

static pthread_mutex_t m[kMutexes];
static long counter[kMutexes];
static pthread_rwlock_t rw[3];
static long left[3], right[3];
static pthread_barrier_t barrier;
static int serials;
static sem_t permits, turn[kAll];
static int holding;
static long passed_on;
static pthread_spinlock_t spin;
static long spun;
static pthread_mutex_t queue_m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER;
static long queued, taken;
static mtx_t c11_m;
static cnd_t c11_c;
static int c11_turn;
static pthread_once_t once[kRounds];
static int once_runs;
static int word;  // a plain futex mutex: 0, 1, 2
static long futexed;
static int finished, foreign;
static __thread int is_program_thread;

static void init(void) {
    for (int i = 0; i < kMutexes; i++) {
        pthread_mutexattr_t a;
        CHECK_OK(pthread_mutexattr_init(&a));
        CHECK_OK(pthread_mutexattr_settype(&a, i % 4));
        if (i >= 4 && i < 6) CHECK_OK(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
        if (i == 6) CHECK_OK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
        if (i >= 7) CHECK_OK(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
        CHECK_OK(pthread_mutex_init(&m[i], &a));
    }
    for (int i = 0; i < 3; i++) {
        pthread_rwlockattr_t a;
        CHECK_OK(pthread_rwlockattr_init(&a));
        CHECK_OK(pthread_rwlockattr_setkind_np(&a, i));
        CHECK_OK(pthread_rwlock_init(&rw[i], &a));
    }
    CHECK_OK(pthread_barrier_init(&barrier, NULL, kAll));
    CHECK_EQ(sem_init(&permits, 0, 3), 0);
    for (int i = 0; i < kAll; i++) CHECK_EQ(sem_init(&turn[i], 0, i == 0), 0);
    CHECK_OK(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE));
    CHECK_EQ(mtx_init(&c11_m, mtx_plain), thrd_success);
    CHECK_EQ(cnd_init(&c11_c), thrd_success);
    for (int i = 0; i < kRounds; i++) once[i] = (pthread_once_t)PTHREAD_ONCE_INIT;
}

static void runs_once(void) {
    bump(&once_runs);
    if (once_runs % 16 == 0) usleep(20);
}

static void futex_lock(void) {
    int seen = 0;
    if (__atomic_compare_exchange_n(&word, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
    while (__atomic_exchange_n(&word, 2, __ATOMIC_ACQUIRE) != 0)
        syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 2, NULL);
}
static void futex_unlock(void) {
    if (__atomic_exchange_n(&word, 0, __ATOMIC_RELEASE) == 2)
        syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1);
}

static void locks(int i) {
    for (int k = 0; k < kMutexes; k++) {
        struct timespec limit = clock_after(CLOCK_REALTIME, 60000);
        if (i % 3 == 0)
            CHECK_OK(pthread_mutex_timedlock(&m[k], &limit));
        else
            CHECK_OK(pthread_mutex_lock(&m[k]));
        long seen = counter[k];
        if ((i + k) % 64 == 0) sched_yield();
        counter[k] = seen + 1;
        CHECK_OK(pthread_mutex_unlock(&m[k]));
    }
    for (int k = 0; k < 3; k++) {
        if (i % 4 == k) {
            CHECK_OK(pthread_rwlock_wrlock(&rw[k]));
            left[k]++;
            if (i % 32 == 0) usleep(1);
            right[k]++;
        } else {
            CHECK_OK(pthread_rwlock_rdlock(&rw[k]));
            CHECK_EQ(left[k], right[k]);
        }
        CHECK_OK(pthread_rwlock_unlock(&rw[k]));
    }
    while (sem_wait(&permits) != 0) CHECK_EQ(errno, EINTR);
    CHECK_LE(__atomic_add_fetch(&holding, 1, __ATOMIC_ACQ_REL), 3);
    __atomic_sub_fetch(&holding, 1, __ATOMIC_ACQ_REL);
    CHECK_EQ(sem_post(&permits), 0);
    CHECK_OK(pthread_spin_lock(&spin));
    spun++;
    CHECK_OK(pthread_spin_unlock(&spin));
    CHECK_OK(pthread_once(&once[i], runs_once));
    CHECK_GE(__atomic_load_n(&once_runs, __ATOMIC_ACQUIRE), 1);
    futex_lock();
    futexed++;
    futex_unlock();
}

static void body(int me) {
    for (int i = 0; i < kRounds; i++) {
        locks(i);
        if (i % 10 == 0) {
            int rc = pthread_barrier_wait(&barrier);
            if (rc == PTHREAD_BARRIER_SERIAL_THREAD)
                bump(&serials);
            else
                CHECK_OK(rc);
        }
        // A ring of semaphores, then one of a condition, through every thread.
        if (i % 5 == 0) {
            while (sem_wait(&turn[me]) != 0) CHECK_EQ(errno, EINTR);
            passed_on++;
            CHECK_EQ(sem_post(&turn[(me + 1) % kAll]), 0);
            CHECK_EQ(mtx_lock(&c11_m), thrd_success);
            while (c11_turn != me) CHECK_EQ(cnd_wait(&c11_c, &c11_m), thrd_success);
            c11_turn = (me + 1) % kAll;
            CHECK_EQ(cnd_broadcast(&c11_c), thrd_success);
            CHECK_EQ(mtx_unlock(&c11_m), thrd_success);
        }
        // Half produce and half consume.
        CHECK_OK(pthread_mutex_lock(&queue_m));
        if (me % 2 == 0) {
            queued++;
            CHECK_OK(pthread_cond_signal(&not_empty));
        } else {
            while (queued == 0) CHECK_OK(pthread_cond_wait(&not_empty, &queue_m));
            queued--;
            taken++;
        }
        CHECK_OK(pthread_mutex_unlock(&queue_m));
    }
    bump(&finished);
}

static void* own(void* me) {
    is_program_thread = 1;
    body((int)(long)me);
    return NULL;
}
static void notified(union sigval value) {
    if (!is_program_thread) bump(&foreign);
    body(value.sival_int);
}

int main(void) {
    init();
    pthread_t t[kOwn];
    for (long i = 0; i < kOwn; i++) t[i] = spawn(own, (void*)i);
    for (int i = 0; i < kForeign; i++) {
        struct sigevent event = {.sigev_notify = SIGEV_THREAD};
        event.sigev_notify_function = notified;
        event.sigev_value.sival_int = kOwn + i;
        timer_t timer;
        CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
        struct itimerspec at = {.it_value = {0, 1000000}};
        CHECK_EQ(timer_settime(timer, 0, &at, NULL), 0);
    }
    for (int i = 0; i < kOwn; i++) join(t[i]);
    wait_for(&finished, kAll);
    for (int k = 0; k < kMutexes; k++) CHECK_EQ(counter[k], (long)kAll * kRounds);
    for (int k = 0; k < 3; k++) CHECK_EQ(left[k], (long)kAll * kRounds / 4);
    CHECK_EQ(once_runs, kRounds);
    CHECK_EQ(spun, (long)kAll * kRounds);
    CHECK_EQ(futexed, (long)kAll * kRounds);
    CHECK_EQ(queued, 0);
    printf("foreign %d, serials %d, passed on %ld, taken %ld\n", foreign, serials, passed_on,
           taken);
    return 0;
}
