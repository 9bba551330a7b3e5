// A thread that takes a lock again at once must not keep another waiting for good. The kernel hands
// an object with priority inheritance to its waiter, and lets a woken thread run before its waker;
// under the shim a waiter of a millisecond is handed the object, and who wakes a waiter lets it
// run. Without that the first thread kept robust mutexes, semaphores and locks made of a condition
// variable for good with one processor. The waiter passes 20 times for each kind.
// expect: fibers>=28
#include <linux/futex.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "switching.h"

enum { kTurns = 20, kHoldRounds = 2000 };

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_rwlock_t rwlock;
    sem_t semaphore;
    FILE* file;
    uint32_t word;
    bool is_taken;
} object = {.rwlock = PTHREAD_RWLOCK_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static int started, done, inside;

static long futex(int operation, uint32_t value) {
    return syscall(SYS_futex, &object.word, operation, value, NULL);
}
static bool swap(uint32_t from, uint32_t to) {
    return __atomic_compare_exchange_n(&object.word, &from, to, 0, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}
static uint32_t tid(void) { return (uint32_t)syscall(SYS_gettid); }

static void lock_mutex(void) { CHECK_OK(pthread_mutex_lock(&object.mutex)); }
static void unlock_mutex(void) { CHECK_OK(pthread_mutex_unlock(&object.mutex)); }
static void lock_semaphore(void) { CHECK_EQ(sem_wait(&object.semaphore), 0); }
static void unlock_semaphore(void) { CHECK_EQ(sem_post(&object.semaphore), 0); }
static void lock_rwlock(void) { CHECK_OK(pthread_rwlock_wrlock(&object.rwlock)); }
static void unlock_rwlock(void) { CHECK_OK(pthread_rwlock_unlock(&object.rwlock)); }
static void lock_file(void) { flockfile(object.file); }
static void unlock_file(void) { funlockfile(object.file); }
static void lock_pi(void) {
    if (!swap(0, tid())) CHECK_EQ(futex(FUTEX_LOCK_PI_PRIVATE, 0), 0);
}
static void unlock_pi(void) {
    if (!swap(tid(), 0)) CHECK_EQ(futex(FUTEX_UNLOCK_PI_PRIVATE, 0), 0);
}
static void lock_word(void) {
    if (swap(0, 1)) return;
    while (__atomic_exchange_n(&object.word, 2, __ATOMIC_SEQ_CST) != 0)
        futex(FUTEX_WAIT_PRIVATE, 2);
}
static void unlock_word(void) {
    if (__atomic_exchange_n(&object.word, 0, __ATOMIC_SEQ_CST) == 2) futex(FUTEX_WAKE_PRIVATE, 1);
}
static void lock_by_cond(void) {
    lock_mutex();
    while (object.is_taken) CHECK_OK(pthread_cond_wait(&object.cond, &object.mutex));
    object.is_taken = true;
    unlock_mutex();
}
static void unlock_by_cond(void) {
    lock_mutex();
    object.is_taken = false;
    CHECK_OK(pthread_cond_signal(&object.cond));
    unlock_mutex();
}
static void unlock_by_late_signal(void) {
    lock_mutex();
    object.is_taken = false;
    unlock_mutex();
    CHECK_OK(pthread_cond_broadcast(&object.cond));
}

struct kind {
    const char* name;
    void (*lock)(void);
    void (*unlock)(void);
    int type, robust, protocol;
};

static void take(const struct kind* kind) {
    kind->lock();
    CHECK_EQ(inside++, 0);
}
static void give(const struct kind* kind) {
    inside--;
    kind->unlock();
}

static void* greedy(void* kind) {
    while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
        take(kind);
        for (volatile int i = 0; i < kHoldRounds; i++) continue;
        give(kind);
        __atomic_store_n(&started, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void* modest(void* kind) {
    for (int i = 0; i < kTurns; i++) {
        take(kind);
        give(kind);
    }
    __atomic_store_n(&done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void compete(const struct kind* kind) {
    pthread_mutexattr_t a;
    CHECK_OK(pthread_mutexattr_init(&a));
    CHECK_OK(pthread_mutexattr_settype(&a, kind->type));
    CHECK_OK(pthread_mutexattr_setrobust(&a, kind->robust));
    CHECK_OK(pthread_mutexattr_setprotocol(&a, kind->protocol));
    CHECK_OK(pthread_mutex_init(&object.mutex, &a));
    started = done = 0;
    pthread_t first = spawn(greedy, (void*)kind);
    while (!__atomic_load_n(&started, __ATOMIC_ACQUIRE)) usleep(100);
    pthread_t second = spawn(modest, (void*)kind);
    join(second);
    join(first);
    CHECK_OK(pthread_mutex_destroy(&object.mutex));
    printf("%s\n", kind->name);
}

int main(void) {
    enum { kRobust = PTHREAD_MUTEX_ROBUST, kInherit = PTHREAD_PRIO_INHERIT };
    enum { kRecursive = PTHREAD_MUTEX_RECURSIVE, kErrorcheck = PTHREAD_MUTEX_ERRORCHECK };
    static const struct kind kinds[] = {
        {"mutex", lock_mutex, unlock_mutex, 0, 0, 0},
        {"recursive", lock_mutex, unlock_mutex, kRecursive, 0, 0},
        {"errorcheck", lock_mutex, unlock_mutex, kErrorcheck, 0, 0},
        {"inheriting", lock_mutex, unlock_mutex, 0, 0, kInherit},
        {"robust", lock_mutex, unlock_mutex, 0, kRobust, kInherit},
        {"robust recursive", lock_mutex, unlock_mutex, kRecursive, kRobust, kInherit},
        {"robust errorcheck", lock_mutex, unlock_mutex, kErrorcheck, kRobust, kInherit},
        {"semaphore", lock_semaphore, unlock_semaphore, 0, 0, 0},
        {"rwlock", lock_rwlock, unlock_rwlock, 0, 0, 0},
        {"file", lock_file, unlock_file, 0, 0, 0},
        {"futex", lock_word, unlock_word, 0, 0, 0},
        {"inheriting futex", lock_pi, unlock_pi, 0, 0, 0},
        {"condition", lock_by_cond, unlock_by_cond, 0, 0, 0},
        {"condition, late signal", lock_by_cond, unlock_by_late_signal, 0, 0, 0},
    };
    CHECK_EQ(sem_init(&object.semaphore, 0, 1), 0);
    object.file = fopen("/dev/null", "w");
    CHECK(object.file != NULL);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) compete(&kinds[i]);
    fclose(object.file);
    return 0;
}
