// The private futex through syscall(2), as language runtimes use it: EAGAIN, counts of wake,
// timeouts relative and absolute, bit sets, requeue and cmp_requeue.
#include <linux/futex.h>
#include <sys/syscall.h>

#include "switching.h"

static int a, b, asleep, woken;

static long futex(int* word, int op, int value, const struct timespec* t, int* word2, int value3) {
    return syscall(SYS_futex, word, op, value, t, word2, value3);
}
static long wake(int* word, int n) { return futex(word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0); }

static void* waits(void* bits) {
    bump(&asleep);
    // The word never changes: only a wake ends the wait, and each counts once.
    long rc = bits ? futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, (int)(long)bits)
                   : futex(&a, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    CHECK_EQ(rc, 0);
    bump(&woken);
    return NULL;
}

// Wakes until n have really been woken: a thread may not have fallen asleep yet.
static void wake_exactly(int* word, int n, int bits) {
    int done = 0;
    while (done < n) {
        long rc = bits ? futex(word, FUTEX_WAKE_BITSET_PRIVATE, n - done, NULL, NULL, bits)
                       : wake(word, n - done);
        CHECK(rc >= 0 && rc <= n - done);
        done += (int)rc;
        if (rc == 0) usleep(200);
    }
}

int main(void) {
    CHECK_EQ(wake(&a, 100), 0);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0), EAGAIN);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 1, NULL, NULL, -1), EAGAIN);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex((int*)((char*)&a + 1), FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&a, 99, 0, NULL, NULL, 0), ENOSYS);
    struct timespec bad = {0, 1000000000}, relative = {0, 10000000};
    CHECK_ERRNO(futex(&a, FUTEX_WAIT_PRIVATE, 0, &bad, NULL, 0), EINVAL);
    struct timespec until = clock_after(CLOCK_MONOTONIC, 10);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT_PRIVATE, 0, &relative, NULL, 0), ETIMEDOUT);
    CHECK(time_reached(CLOCK_MONOTONIC, until));
    until = clock_after(CLOCK_MONOTONIC, 10);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, &until, NULL, -1), ETIMEDOUT);
    CHECK(time_reached(CLOCK_MONOTONIC, until));
    until = clock_after(CLOCK_REALTIME, 10);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &until, NULL, -1),
                ETIMEDOUT);
    CHECK(time_reached(CLOCK_REALTIME, until));

    pthread_t t[8];
    for (int i = 0; i < 8; i++) t[i] = spawn(waits, NULL);
    wake_exactly(&a, 3, 0);
    wait_for(&woken, 3);
    likely_blocked();
    CHECK_EQ(__atomic_load_n(&woken, __ATOMIC_ACQUIRE), 3);
    wake_exactly(&a, 5, 0);
    for (int i = 0; i < 8; i++) join(t[i]);
    CHECK_EQ(wake(&a, 100), 0);
    int plain = woken;

    // Four wait for bit 1, four for bit 2.
    woken = 0;
    for (long i = 0; i < 8; i++) t[i] = spawn(waits, (void*)(1 + i % 2));
    wake_exactly(&a, 4, 2);
    wait_for(&woken, 4);
    likely_blocked();
    CHECK_EQ(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, 2), 0);
    CHECK_EQ(__atomic_load_n(&woken, __ATOMIC_ACQUIRE), 4);
    wake_exactly(&a, 4, 1);
    for (int i = 0; i < 8; i++) join(t[i]);
    int by_bits = woken;

    // Six sleep on a; two are woken, four moved to b without running, then woken there.
    woken = 0;
    for (int i = 0; i < 6; i++) t[i] = spawn(waits, NULL);
    CHECK_ERRNO(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void*)1L, &b, 77), EAGAIN);
    wake_exactly(&a, 2, 0);
    int moved = 0;
    while (moved < 4) {
        long rc = futex(&a, moved % 2 ? FUTEX_REQUEUE_PRIVATE : FUTEX_CMP_REQUEUE_PRIVATE, 0,
                        (void*)(4L - moved), &b, 0);
        CHECK(rc >= 0);
        moved += (int)rc;
        if (rc == 0) usleep(200);
    }
    CHECK_EQ(moved, 4);
    CHECK_EQ(wake(&a, 100), 0);
    wait_for(&woken, 2);
    likely_blocked();
    CHECK_EQ(__atomic_load_n(&woken, __ATOMIC_ACQUIRE), 2);
    CHECK_EQ(wake(&b, 3), 3);
    CHECK_EQ(wake(&b, 3), 1);
    for (int i = 0; i < 6; i++) join(t[i]);
    printf("woken %d, by bits %d, requeued %d, all %d\n", plain, by_bits, moved, woken);
    return 0;
}
