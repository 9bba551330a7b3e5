// expect: fibers>=8
// C11 threads: thrd_*, mtx_* of every kind, cnd_*, call_once and tss_*, with the codes of
// <threads.h>.
#include <threads.h>

#include "check.h"

enum { kThreads = 8, kRounds = 1000 };
static mtx_t plain, timed, recursive;
static cnd_t c;
static once_flag flag = ONCE_FLAG_INIT;
static tss_t key;
static int once_runs, destroyed, counter, turn, detached_ran;
static thread_local int mine = 5;

static void init_once(void) { once_runs++; }
static void on_destroy(void* value) {
    (void)value;
    __atomic_add_fetch(&destroyed, 1, __ATOMIC_ACQ_REL);
}

static int worker(void* argument) {
    int n = (int)(long)argument;
    call_once(&flag, init_once);
    CHECK_EQ(tss_set(key, argument), thrd_success);
    mine += n;
    for (int i = 0; i < kRounds; i++) {
        CHECK_EQ(mtx_lock(&plain), thrd_success);
        counter++;
        if (i % 100 == 0) thrd_yield();
        CHECK_EQ(mtx_unlock(&plain), thrd_success);
        CHECK_EQ(tss_get(key), argument);
        CHECK_EQ(mine, 5 + n);
    }
    for (int i = 0; i < 50; i++) {
        CHECK_EQ(mtx_lock(&timed), thrd_success);
        while (turn % kThreads != n - 1) CHECK_EQ(cnd_wait(&c, &timed), thrd_success);
        turn++;
        CHECK_EQ(cnd_broadcast(&c), thrd_success);
        CHECK_EQ(mtx_unlock(&timed), thrd_success);
    }
    if (n % 2) thrd_exit(100 + n);
    return 100 + n;
}

static int tries(void* m) { return mtx_trylock(m); }
static int other_tries(mtx_t* m) {
    thrd_t t;
    int rc = -1;
    CHECK_EQ(thrd_create(&t, tries, m), thrd_success);
    CHECK_EQ(thrd_join(t, &rc), thrd_success);
    return rc;
}
static int detached(void* unused) {
    (void)unused;
    __atomic_store_n(&detached_ran, 1, __ATOMIC_RELEASE);
    return 0;
}
static int waits_in_vain(void* unused) {
    (void)unused;
    struct timespec t;
    CHECK_EQ(timespec_get(&t, TIME_UTC), TIME_UTC);
    t.tv_nsec += 10000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    int rc = mtx_timedlock(&timed, &t);
    struct timespec now;
    CHECK_EQ(timespec_get(&now, TIME_UTC), TIME_UTC);
    CHECK(now.tv_sec > t.tv_sec || (now.tv_sec == t.tv_sec && now.tv_nsec >= t.tv_nsec));
    return rc;
}

int main(void) {
    CHECK_EQ(mtx_init(&plain, mtx_plain), thrd_success);
    CHECK_EQ(mtx_init(&timed, mtx_timed), thrd_success);
    CHECK_EQ(mtx_init(&recursive, mtx_plain | mtx_recursive), thrd_success);
    CHECK_EQ(cnd_init(&c), thrd_success);
    CHECK_EQ(tss_create(&key, on_destroy), thrd_success);
    thrd_t t[kThreads];
    int sum = 0;
    for (long i = 0; i < kThreads; i++)
        CHECK_EQ(thrd_create(&t[i], worker, (void*)(i + 1)), thrd_success);
    for (int i = 0; i < kThreads; i++) {
        int result = 0;
        CHECK(!thrd_equal(thrd_current(), t[i]));
        CHECK_EQ(thrd_join(t[i], &result), thrd_success);
        CHECK_EQ(result, 101 + i);
        sum += result;
    }
    CHECK_EQ(counter, kThreads * kRounds);
    CHECK_EQ(turn, kThreads * 50);
    CHECK_EQ(once_runs, 1);
    CHECK_EQ(destroyed, kThreads);

    for (int i = 0; i < 3; i++) CHECK_EQ(mtx_lock(&recursive), thrd_success);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(other_tries(&recursive), thrd_busy);
        CHECK_EQ(mtx_unlock(&recursive), thrd_success);
    }
    CHECK_EQ(mtx_lock(&timed), thrd_success);
    CHECK_EQ(other_tries(&timed), thrd_busy);
    int rc;
    CHECK_EQ(thrd_create(&t[0], waits_in_vain, NULL), thrd_success);
    CHECK_EQ(thrd_join(t[0], &rc), thrd_success);
    CHECK_EQ(rc, thrd_timedout);
    struct timespec past = {1, 0};
    CHECK_EQ(cnd_timedwait(&c, &timed, &past), thrd_timedout);
    CHECK_EQ(cnd_signal(&c), thrd_success);
    CHECK_EQ(mtx_unlock(&timed), thrd_success);
    CHECK_EQ(thrd_create(&t[0], detached, NULL), thrd_success);
    CHECK_EQ(thrd_detach(t[0]), thrd_success);
    struct timespec nap = {0, 1000000};
    while (!__atomic_load_n(&detached_ran, __ATOMIC_ACQUIRE)) CHECK_EQ(thrd_sleep(&nap, NULL), 0);
    tss_delete(key);
    cnd_destroy(&c);
    mtx_destroy(&plain);
    mtx_destroy(&timed);
    mtx_destroy(&recursive);
    printf("sum %d, counter %d, turns %d, destroyed %d\n", sum, counter, turn, destroyed);
    return 0;
}
