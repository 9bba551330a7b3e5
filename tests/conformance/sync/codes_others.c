// The result of every call on rwlocks, condition variables, semaphores, barriers, spin locks and
// the C11 objects with usual and unusual arguments; the output is compared with the native one.
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <threads.h>

#include "switching.h"

static const struct timespec kTimes[] = {{1, 0},          {-1, 0},          {1, -1},
                                         {1, 1000000000}, {-5, 1000000000}, {LONG_MIN, 0}};
static const char* const kTimeNames[] = {"past", "-1s", "-1ns", "1e9ns", "both", "min"};
enum { kTimesCount = 6 };
static const clockid_t kClocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME,
                                    CLOCK_THREAD_CPUTIME_ID, 12345};

static void print(const char* what, int rc) { printf(" %s=%d", what, rc); }
static void print_errno(const char* what, int rc) { printf(" %s=%d", what, rc == -1 ? errno : rc); }

// ---- rwlocks
static pthread_rwlock_t rw;

static void attempt(const char* what, int rc) {
    print(what, rc);
    if (rc == 0) CHECK_OK(pthread_rwlock_unlock(&rw));
}
static void rwlock_tries(const char* state) {
    printf("\n  %s:", state);
    attempt("tryrd", pthread_rwlock_tryrdlock(&rw));
    attempt("trywr", pthread_rwlock_trywrlock(&rw));
    for (int i = 0; i < kTimesCount; i++) {
        printf(" %s:", kTimeNames[i]);
        attempt("timedrd", pthread_rwlock_timedrdlock(&rw, &kTimes[i]));
        attempt("timedwr", pthread_rwlock_timedwrlock(&rw, &kTimes[i]));
        for (int c = 1; c < 5; c++) {
            attempt("clockrd", pthread_rwlock_clockrdlock(&rw, kClocks[c], &kTimes[i]));
            attempt("clockwr", pthread_rwlock_clockwrlock(&rw, kClocks[c], &kTimes[i]));
        }
    }
}
static void* rwlock_other(void* state) {
    rwlock_tries(state);
    return NULL;
}
static void rwlocks(void) {
    for (int kind = 0; kind < 3 * 2; kind++) {
        pthread_rwlockattr_t a;
        CHECK_OK(pthread_rwlockattr_init(&a));
        CHECK_OK(pthread_rwlockattr_setkind_np(&a, kind % 3));
        CHECK_OK(pthread_rwlockattr_setpshared(&a, kind / 3));
        CHECK_OK(pthread_rwlock_init(&rw, &a));
        printf("\nrwlock kind %d shared %d", kind % 3, kind / 3);
        rwlock_tries("free");
        CHECK_OK(pthread_rwlock_rdlock(&rw));
        rwlock_tries("read");
        join(spawn(rwlock_other, "read by another"));
        CHECK_OK(pthread_rwlock_unlock(&rw));
        CHECK_OK(pthread_rwlock_wrlock(&rw));
        print("rdlock", pthread_rwlock_rdlock(&rw));
        print("wrlock", pthread_rwlock_wrlock(&rw));
        rwlock_tries("written");
        join(spawn(rwlock_other, "written by another"));
        CHECK_OK(pthread_rwlock_unlock(&rw));
        CHECK_OK(pthread_rwlock_destroy(&rw));
    }
}

// ---- condition variables
static pthread_cond_t c;
static pthread_mutex_t m;

static void* cond_bad_owner(void* unused) {
    (void)unused;
    print("cond_wait not owner", pthread_cond_timedwait(&c, &m, &kTimes[0]));
    return NULL;
}
static void conditions(void) {
    for (int kind = 0; kind < 2 * 2 * 4; kind++) {
        pthread_condattr_t a;
        pthread_mutexattr_t ma;
        int shared = kind % 2;
        CHECK_OK(pthread_condattr_init(&a));
        CHECK_OK(pthread_condattr_setclock(&a, kind / 2 % 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME));
        CHECK_OK(pthread_condattr_setpshared(&a, shared));
        CHECK_OK(pthread_mutexattr_init(&ma));
        CHECK_OK(pthread_mutexattr_settype(&ma, kind / 4));
        CHECK_OK(pthread_mutexattr_setpshared(&ma, shared));
        CHECK_OK(pthread_mutex_init(&m, &ma));
        CHECK_OK(pthread_cond_init(&c, &a));
        printf("\ncond shared %d clock %d mutex %d:", shared, kind / 2 % 2, kind / 4);
        CHECK_OK(pthread_mutex_lock(&m));
        for (int i = 0; i < kTimesCount; i++) {
            printf(" %s:", kTimeNames[i]);
            print("timedwait", pthread_cond_timedwait(&c, &m, &kTimes[i]));
            for (int k = 0; k < 5; k++)
                print("clockwait", pthread_cond_clockwait(&c, &m, kClocks[k], &kTimes[i]));
        }
        print("signal", pthread_cond_signal(&c));
        print("broadcast", pthread_cond_broadcast(&c));
        if (kind / 4 == PTHREAD_MUTEX_ERRORCHECK || kind / 4 == PTHREAD_MUTEX_RECURSIVE)
            join(spawn(cond_bad_owner, NULL));
        print("unlock", pthread_mutex_unlock(&m));
        print("destroy", pthread_cond_destroy(&c));
        print("destroy", pthread_mutex_destroy(&m));
    }
}

// ---- semaphores
static void semaphores(void) {
    sem_t s;
    for (int shared = 0; shared < 2; shared++) {
        printf("\nsem shared %d:", shared);
        print_errno("init(too much)", sem_init(&s, shared, (unsigned)SEM_VALUE_MAX + 1));
        CHECK_EQ(sem_init(&s, shared, SEM_VALUE_MAX), 0);
        int value = -1;
        print_errno("post(full)", sem_post(&s));
        print_errno("getvalue", sem_getvalue(&s, &value));
        printf(" value=%d", value);
        print_errno("destroy", sem_destroy(&s));
        for (int start = 0; start < 2; start++) {
            CHECK_EQ(sem_init(&s, shared, 0), 0);
            for (int i = 0; i < kTimesCount; i++) {
                printf(" %s:", kTimeNames[i]);
                if (start) sem_post(&s);
                print_errno("timedwait", sem_timedwait(&s, &kTimes[i]));
                for (int k = 0; k < 5; k++) {
                    if (start) sem_post(&s);
                    print_errno("clockwait", sem_clockwait(&s, kClocks[k], &kTimes[i]));
                    print_errno("getvalue", sem_getvalue(&s, &value));
                    printf("(%d)", value);
                }
            }
            while (sem_trywait(&s) == 0) {
            }
            print_errno("trywait", sem_trywait(&s));
            print_errno("destroy", sem_destroy(&s));
        }
    }
    char name[64];
    snprintf(name, sizeof name, "/pfiber-codes-%d", (int)getpid());
    sem_unlink(name);
    printf("\nnamed:");
    print_errno("open(absent)", sem_open(name, 0) == SEM_FAILED ? -1 : 0);
    print_errno("open(too much)",
                sem_open(name, O_CREAT, 0600, (unsigned)SEM_VALUE_MAX + 1) == SEM_FAILED ? -1 : 0);
    print_errno("open(no name)", sem_open("", O_CREAT, 0600, 1) == SEM_FAILED ? -1 : 0);
    print_errno("open(slash)", sem_open("/a/b", O_CREAT, 0600, 1) == SEM_FAILED ? -1 : 0);
    sem_t* first = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
    CHECK(first != SEM_FAILED);
    print_errno("open(exists)", sem_open(name, O_CREAT | O_EXCL, 0600, 1) == SEM_FAILED ? -1 : 0);
    sem_t* second = sem_open(name, O_CREAT, 0600, 7);
    printf(" same=%d", first == second);
    print_errno("wait", sem_wait(second));
    print_errno("trywait", sem_trywait(first));
    print_errno("unlink", sem_unlink(name));
    print_errno("unlink again", sem_unlink(name));
    print_errno("open(unlinked)", sem_open(name, 0) == SEM_FAILED ? -1 : 0);
    print_errno("post", sem_post(first));
    print_errno("timedwait", sem_timedwait(second, &kTimes[0]));
    print_errno("close", sem_close(first));
    print_errno("close", sem_close(second));
    print_errno("close(closed)", sem_close(second));
}

// ---- barriers, spin locks
static void* spins(void* lock) {
    print("trylock by another", pthread_spin_trylock(lock));
    return NULL;
}
static void small(void) {
    printf("\nsmall:");
    pthread_barrier_t b;
    print("barrier_init(0)", pthread_barrier_init(&b, NULL, 0));
    print("barrier_init(max)", pthread_barrier_init(&b, NULL, UINT_MAX));
    for (int shared = 0; shared < 2; shared++) {
        pthread_barrierattr_t a;
        CHECK_OK(pthread_barrierattr_init(&a));
        CHECK_OK(pthread_barrierattr_setpshared(&a, shared));
        CHECK_OK(pthread_barrier_init(&b, &a, 1));
        for (int i = 0; i < 3; i++) print("wait", pthread_barrier_wait(&b));
        print("destroy", pthread_barrier_destroy(&b));
    }
    pthread_spinlock_t spin;
    CHECK_OK(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE));
    print("lock", pthread_spin_lock(&spin));
    print("trylock", pthread_spin_trylock(&spin));
    join(spawn(spins, (void*)&spin));
    print("unlock", pthread_spin_unlock(&spin));
    print("trylock", pthread_spin_trylock(&spin));
    print("unlock", pthread_spin_unlock(&spin));
    print("destroy", pthread_spin_destroy(&spin));
}

// ---- C11
static mtx_t mtx;
static int mtx_other(void* unused) {
    (void)unused;
    printf(" other trylock=%d", mtx_trylock(&mtx));
    return thrd_success;
}
static void c11(void) {
    printf("\nC11:");
    static const int kinds[] = {mtx_plain, mtx_timed, mtx_plain | mtx_recursive,
                                mtx_timed | mtx_recursive, 99};
    for (int i = 0; i < 5; i++) {
        int rc = mtx_init(&mtx, kinds[i]);
        print("mtx_init", rc);
        if (rc != thrd_success) continue;
        print("lock", mtx_lock(&mtx));
        int again = mtx_trylock(&mtx);
        print("trylock", again);
        if (again == thrd_success) print("unlock", mtx_unlock(&mtx));
        for (int k = 0; k < kTimesCount; k++) {
            int timed = mtx_timedlock(&mtx, &kTimes[k]);
            print("timedlock", timed);
            if (timed == thrd_success) mtx_unlock(&mtx);
        }
        thrd_t t;
        CHECK_EQ(thrd_create(&t, mtx_other, NULL), thrd_success);
        CHECK_EQ(thrd_join(t, NULL), thrd_success);
        cnd_t cnd;
        print("cnd_init", cnd_init(&cnd));
        for (int k = 0; k < kTimesCount; k++)
            print("cnd_timedwait", cnd_timedwait(&cnd, &mtx, &kTimes[k]));
        print("cnd_signal", cnd_signal(&cnd));
        print("cnd_broadcast", cnd_broadcast(&cnd));
        cnd_destroy(&cnd);
        print("unlock", mtx_unlock(&mtx));
        mtx_destroy(&mtx);
    }
    tss_t key;
    print("tss_create", tss_create(&key, NULL));
    print("tss_set", tss_set(key, &key));
    printf(" tss_get=%d", tss_get(key) == &key);
    tss_delete(key);
    print("tss_set(deleted)", tss_set(key, &key));
    printf("\n");
}

static void* all(void* unused) {
    (void)unused;
    rwlocks();
    conditions();
    semaphores();
    small();
    c11();
    return NULL;
}

int main(void) {
    all(NULL);
    join(spawn(all, NULL));
    all(NULL);
    return 0;
}
