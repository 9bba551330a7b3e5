// Futexes with priority inheritance through syscall(2), with and without the private flag: taken by
// the fast path or by the call, contended, tried, timed, given back by others than the owner;
// waiting with a requeue to such a word; waiting for several words at once.
// expect: fibers>=8
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "switching.h"

enum { kThreads = 6, kRounds = 300, kTid = 0x3fffffff };

static uint32_t word, other;
static long counter;
static int inside, asleep, handled, flag;

static long futex(uint32_t* w, int op, uint32_t value, const void* t, uint32_t* w2, uint32_t v3) {
    return syscall(SYS_futex, w, op, value, t, w2, v3);
}
static void lock(uint32_t* w) {
    uint32_t expected = 0, self = (uint32_t)syscall(SYS_gettid);
    if (__atomic_compare_exchange_n(w, &expected, self, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    CHECK_EQ(futex(w, FUTEX_LOCK_PI | flag, 0, NULL, NULL, 0), 0);
}
static void unlock(uint32_t* w) {
    uint32_t expected = (uint32_t)syscall(SYS_gettid);
    if (__atomic_compare_exchange_n(w, &expected, 0, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) return;
    CHECK_EQ(futex(w, FUTEX_UNLOCK_PI | flag, 0, NULL, NULL, 0), 0);
}

static void* contends(void* unused) {
    (void)unused;
    for (int i = 0; i < kRounds; i++) {
        lock(&word);
        CHECK_EQ(inside++, 0);
        if (i % 16 == 0) sched_yield();
        if (i % 64 == 0) usleep(50);
        counter++;
        inside--;
        unlock(&word);
    }
    return NULL;
}

static void print(const char* what, long rc) {
    printf(" %s=%ld/%s", what, rc, rc == -1 ? strerrorname_np(errno) : "");
}

static void* by_another(void* unused) {
    (void)unused;
    struct timespec past = {1, 0}, bad = {1, -1}, early = {-1, 0};
    struct timespec soon = clock_after(CLOCK_REALTIME, 5), soon2 = clock_after(CLOCK_MONOTONIC, 5);
    print("try", futex(&word, FUTEX_TRYLOCK_PI | flag, 0, NULL, NULL, 0));
    print("past", futex(&word, FUTEX_LOCK_PI | flag, 0, &past, NULL, 0));
    print("bad", futex(&word, FUTEX_LOCK_PI | flag, 0, &bad, NULL, 0));
    print("early", futex(&word, FUTEX_LOCK_PI | flag, 0, &early, NULL, 0));
    print("soon", futex(&word, FUTEX_LOCK_PI | flag, 0, &soon, NULL, 0));
    print("soon2", futex(&word, FUTEX_LOCK_PI2 | flag, 0, &soon2, NULL, 0));
    print("unlock", futex(&word, FUTEX_UNLOCK_PI | flag, 0, NULL, NULL, 0));
    return NULL;
}
static void* waits_for_owner(void* unused) {
    (void)unused;
    bump(&asleep);
    lock(&word);
    unlock(&word);
    return NULL;
}
static void counts(int signal) {
    (void)signal;
    bump(&handled);
}

static void single(void) {
    printf("flag %d:", flag);
    word = 0;
    print("unlock(free)", futex(&word, FUTEX_UNLOCK_PI | flag, 0, NULL, NULL, 0));
    print("lock", futex(&word, FUTEX_LOCK_PI | flag, 0, NULL, NULL, 0));
    print("again", futex(&word, FUTEX_LOCK_PI | flag, 0, NULL, NULL, 0));
    print("try", futex(&word, FUTEX_TRYLOCK_PI | flag, 0, NULL, NULL, 0));
    join(spawn(by_another, NULL));
    print("unlock", futex(&word, FUTEX_UNLOCK_PI | flag, 0, NULL, NULL, 0));
    printf(" word=%u", word);
    print("try(free)", futex(&word, FUTEX_TRYLOCK_PI | flag, 0, NULL, NULL, 0));
    print("unlock", futex(&word, FUTEX_UNLOCK_PI | flag, 0, NULL, NULL, 0));
    word = 0x3ffffff0;  // nobody's
    print("lock(nobody's)", futex(&word, FUTEX_LOCK_PI | flag, 0, NULL, NULL, 0));
    word = 0;
    // A handler runs while the thread waits, and the wait goes on.
    lock(&word);
    asleep = 0;
    int before = handled;
    pthread_t t = spawn(waits_for_owner, NULL);
    wait_for(&asleep, 1);
    likely_blocked();
    for (int i = 1; i <= 3; i++) {
        CHECK_OK(pthread_kill(t, SIGUSR1));
        wait_for(&handled, before + i);
    }
    unlock(&word);
    join(t);
    printf(" word=%u\n", word & kTid);
}

// ---- requeue to a word with priority inheritance
static void* waits_requeued(void* unused) {
    (void)unused;
    bump(&asleep);
    CHECK_EQ(futex(&other, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 7, NULL, &word, 0), 0);
    CHECK_EQ(word & kTid, (uint32_t)syscall(SYS_gettid));
    CHECK_EQ(inside++, 0);
    counter++;
    inside--;
    CHECK_EQ(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
    return NULL;
}
static void requeues(void) {
    pthread_t t[4];
    word = 0;
    other = 7;
    asleep = 0;
    counter = 0;
    for (int i = 0; i < 4; i++) t[i] = spawn(waits_requeued, NULL);
    wait_for(&asleep, 4);
    CHECK_ERRNO(futex(&other, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void*)9, &word, 8), EAGAIN);
    CHECK_ERRNO(futex(&other, FUTEX_CMP_REQUEUE_PI_PRIVATE, 2, (void*)9, &word, 7), EINVAL);
    for (long moved = 0; moved < 4;) {
        long rc = futex(&other, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void*)9, &word, 7);
        CHECK_GE(rc, 0);
        moved += rc;
        usleep(200);
    }
    for (int i = 0; i < 4; i++) join(t[i]);
    struct timespec past = {1, 0};
    CHECK_ERRNO(futex(&other, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 7, &past, &word, 0), ETIMEDOUT);
    CHECK_ERRNO(futex(&other, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 8, NULL, &word, 0), EAGAIN);
    printf("requeued %ld\n", counter);
}

// ---- several words
struct waitv {
    uint64_t value, address;
    uint32_t flags, reserved;
};
static uint32_t words[3];
static void* waits_for_any(void* result) {
    struct waitv v[3] = {{0, (uintptr_t)&words[0], 2 | FUTEX_PRIVATE_FLAG, 0},
                         {0, (uintptr_t)&words[1], 2 | FUTEX_PRIVATE_FLAG, 0},
                         {0, (uintptr_t)&words[2], 2, 0}};
    bump(&asleep);
    *(long*)result = syscall(SYS_futex_waitv, v, 3, 0, NULL, CLOCK_MONOTONIC);
    return NULL;
}
static void any_of_several(void) {
    for (int i = 0; i < 3; i++) {
        long result = -2;
        asleep = 0;
        pthread_t t = spawn(waits_for_any, &result);
        wait_for(&asleep, 1);
        likely_blocked();
        CHECK_OK(pthread_kill(t, SIGUSR1));
        likely_blocked();
        int op = i == 2 ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE;
        while (futex(&words[i], op, 1, NULL, NULL, 0) == 0) usleep(200);
        join(t);
        printf("waitv %ld\n", result);
    }
    struct waitv v = {1, (uintptr_t)&words[0], 2 | FUTEX_PRIVATE_FLAG, 0};
    struct timespec past = {1, 0};
    CHECK_ERRNO(syscall(SYS_futex_waitv, &v, 1, 0, NULL, CLOCK_MONOTONIC), EAGAIN);
    v.value = 0;
    CHECK_ERRNO(syscall(SYS_futex_waitv, &v, 1, 0, &past, CLOCK_MONOTONIC), ETIMEDOUT);
    CHECK_ERRNO(syscall(SYS_futex_waitv, &v, 0, 0, NULL, CLOCK_MONOTONIC), EINVAL);
}

// ---- shared words: a relative time is not prolonged by handlers
static void* waits_shared(void* result) {
    struct timespec span = {0, 60000000};
    bump(&asleep);
    long rc = futex(&other, FUTEX_WAIT, other, &span, NULL, 0);
    *(int*)result = rc == -1 ? errno : 0;
    return NULL;
}
static void shared(void) {
    int result = 0;
    asleep = 0;
    pthread_t t = spawn(waits_shared, &result);
    join(t);
    printf("shared timeout %d\n", result == ETIMEDOUT);
    asleep = 0;
    t = spawn(waits_shared, &result);
    wait_for(&asleep, 1);
    likely_blocked();
    CHECK_OK(pthread_kill(t, SIGUSR1));
    join(t);
    printf("shared interrupted %d\n", result == EINTR || result == ETIMEDOUT);
}

int main(void) {
    struct sigaction a = {.sa_handler = counts, .sa_flags = SA_RESTART};
    CHECK_EQ(sigaction(SIGUSR1, &a, NULL), 0);
    for (int i = 0; i < 2; i++) {
        flag = i == 0 ? FUTEX_PRIVATE_FLAG : 0;
        single();
        pthread_t t[kThreads];
        counter = 0;
        for (int k = 0; k < kThreads; k++) t[k] = spawn(contends, NULL);
        for (int k = 0; k < kThreads; k++) join(t[k]);
        CHECK_EQ(counter, kThreads * kRounds);
        printf("counter %ld word %u\n", counter, word);
    }
    requeues();
    any_of_several();
    shared();
    return 0;
}
