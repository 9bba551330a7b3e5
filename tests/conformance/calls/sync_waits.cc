// Every call that waits for another thread waits once: the caller is parked, no processor is handed
// off, nothing sleeps where no hook saw it, and what is posted or signalled arrives.
// expect: fibers>=28 native_fallbacks=0 missed_blocking=0 handoffs=0 calls>=2 parks_sync>=20
#include "../../support/twin.h"

#include <threads.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_spinlock_t spin;
static sem_t sem, held, tried;
static mtx_t c11_mutex;
static cnd_t c11_cond;
static int flag;

// Runs `holds` in another thread, waits until it holds, then `tries` what must not wait and `waits`
// here.
static void pair(const char* name, void (*holds)(), void (*tries)(), void (*waits)()) {
    const auto body = [](void* action) -> void* {
        ((void (*)())action)();
        return nullptr;
    };
    const pthread_t other = start(body, (void*)holds);
    wait_sem(&held);
    tries();
    sem_post(&tried);
    waits();
    finish(other);
    puts(name);
}
static void pair(const char* name, void (*holds)(), void (*waits)()) {
    pair(
        name, holds, [] {}, waits);
}
static void hold() {
    sem_post(&held);
    wait_sem(&tried);
    nap(20);
}
static timespec minute(clockid_t clock) { return after_ms(clock, 60000); }

static void holds_mutex() {
    CHECK_OK(pthread_mutex_lock(&mutex));
    hold();
    CHECK_OK(pthread_mutex_unlock(&mutex));
}
static void mutexes() {
    pair("lock", holds_mutex, [] { CHECK_OK(pthread_mutex_lock(&mutex)); });
    CHECK_OK(pthread_mutex_unlock(&mutex));
    pair(
        "timedlock", holds_mutex,
        [] {
            const timespec now = after_ms(CLOCK_REALTIME, 2);
            CHECK_RC(pthread_mutex_timedlock(&mutex, &now), ETIMEDOUT);
        },
        [] {
            const timespec until = minute(CLOCK_REALTIME);
            CHECK_OK(pthread_mutex_timedlock(&mutex, &until));
        });
    CHECK_OK(pthread_mutex_unlock(&mutex));
    pair(
        "clocklock", holds_mutex, [] { CHECK_RC(pthread_mutex_trylock(&mutex), EBUSY); },
        [] {
            const timespec until = minute(CLOCK_MONOTONIC);
            CHECK_OK(pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &until));
        });
    CHECK_OK(pthread_mutex_unlock(&mutex));
    int old;
    CHECK_RC(pthread_mutex_setprioceiling(&mutex, 1, &old), EINVAL);
    pthread_mutexattr_t attributes;
    pthread_mutex_t ceiling;
    CHECK_OK(pthread_mutexattr_init(&attributes));
    CHECK_OK(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_PROTECT));
    CHECK_OK(pthread_mutexattr_setprioceiling(&attributes, 3));
    CHECK_OK(pthread_mutex_init(&ceiling, &attributes));
    CHECK_OK(pthread_mutex_setprioceiling(&ceiling, 5, &old));
    CHECK_EQ(old, 3);
    CHECK_OK(pthread_mutex_destroy(&ceiling));
}

static void signals_cond() {
    hold();
    CHECK_OK(pthread_mutex_lock(&mutex));
    flag = 1;
    CHECK_OK(pthread_cond_signal(&cond));
    CHECK_OK(pthread_mutex_unlock(&mutex));
}
static void broadcasts_cond() {
    hold();
    CHECK_OK(pthread_mutex_lock(&mutex));
    flag = 1;
    CHECK_OK(pthread_cond_broadcast(&cond));
    CHECK_OK(pthread_mutex_unlock(&mutex));
}
template <class F>
static void wait_for_flag(F&& wait) {
    CHECK_OK(pthread_mutex_lock(&mutex));
    while (flag == 0) CHECK_OK(wait());
    flag = 0;
    CHECK_OK(pthread_mutex_unlock(&mutex));
}
static void conditions() {
    pair("cond_wait", signals_cond,
         [] { wait_for_flag([] { return pthread_cond_wait(&cond, &mutex); }); });
    pair("cond_timedwait", broadcasts_cond, [] {
        const timespec until = minute(CLOCK_REALTIME);
        wait_for_flag([&] { return pthread_cond_timedwait(&cond, &mutex, &until); });
    });
    pair("cond_clockwait", signals_cond, [] {
        const timespec until = minute(CLOCK_MONOTONIC);
        wait_for_flag(
            [&] { return pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &until); });
    });
    CHECK_OK(pthread_cond_destroy(&cond));
}

static void holds_write() {
    CHECK_OK(pthread_rwlock_wrlock(&lock));
    hold();
    CHECK_OK(pthread_rwlock_unlock(&lock));
}
#define RWLOCK(name, ...)                                          \
    pair(                                                          \
        #name, holds_write,                                        \
        [] {                                                       \
            CHECK_RC(pthread_rwlock_tryrdlock(&lock), EBUSY);      \
            CHECK_RC(pthread_rwlock_trywrlock(&lock), EBUSY);      \
        },                                                         \
        [] {                                                       \
            const timespec until = minute(CLOCK_REALTIME);         \
            const timespec later = minute(CLOCK_MONOTONIC);        \
            (void)until, (void)later;                              \
            CHECK_OK(pthread_rwlock_##name(&lock, ##__VA_ARGS__)); \
            CHECK_OK(pthread_rwlock_unlock(&lock));                \
        })
static void rwlocks() {
    RWLOCK(rdlock);
    RWLOCK(wrlock);
    RWLOCK(timedrdlock, &until);
    RWLOCK(timedwrlock, &until);
    RWLOCK(clockrdlock, CLOCK_MONOTONIC, &later);
    RWLOCK(clockwrlock, CLOCK_MONOTONIC, &later);
}

static void posts() {
    hold();
    CHECK(sem_post(&sem) == 0);
}
static void semaphores() {
    CHECK_OK(sem_init(&sem, 0, 0));
    pair("sem_wait", posts, [] { CHECK(sem_wait(&sem) == 0); });
    pair(
        "sem_timedwait", posts, [] { CHECK_ERRNO(sem_trywait(&sem), EAGAIN); },
        [] {
            const timespec until = minute(CLOCK_REALTIME);
            CHECK(sem_timedwait(&sem, &until) == 0);
        });
    pair("sem_clockwait", posts, [] {
        const timespec until = minute(CLOCK_MONOTONIC);
        CHECK(sem_clockwait(&sem, CLOCK_MONOTONIC, &until) == 0);
    });
}

static void others() {
    CHECK_OK(pthread_barrier_init(&barrier, nullptr, 2));
    const auto arrives_late = [] {
        hold();
        pthread_barrier_wait(&barrier);
    };
    pair("barrier", arrives_late, [] { pthread_barrier_wait(&barrier); });
    CHECK_OK(pthread_barrier_destroy(&barrier));
    CHECK_OK(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE));
    const auto spins = [] {
        CHECK_OK(pthread_spin_lock(&spin));
        hold();
        CHECK_OK(pthread_spin_unlock(&spin));
    };
    pair("spin", spins, [] { CHECK_OK(pthread_spin_lock(&spin)); });
    CHECK_OK(pthread_spin_unlock(&spin));
    static pthread_once_t once;
    static once_flag c11_once;
    static int runs;
    pair(
        "once", [] { pthread_once(&once, [] { hold(), runs++; }); },
        [] { pthread_once(&once, [] { runs = 99; }); });
    pair(
        "call_once", [] { call_once(&c11_once, [] { hold(), runs++; }); },
        [] { call_once(&c11_once, [] { runs = 99; }); });
    CHECK_EQ(runs, 2);
    static const auto body = [](void*) -> void* {
        hold();
        return nullptr;
    };
    // The lock of a stream, which libc takes in its inside.
    const auto holds_stream = [] {
        flockfile(stderr);
        hold();
        funlockfile(stderr);
    };
    pair("flockfile", holds_stream, [] { CHECK(fputs("", stderr) >= 0); });
    void* result;
    const timespec until = minute(CLOCK_REALTIME), later = minute(CLOCK_MONOTONIC);
    for (int kind = 0; kind < 3; kind++) {
        const pthread_t thread = start(body, nullptr);
        wait_sem(&held);
        CHECK_RC(pthread_tryjoin_np(thread, &result), EBUSY);
        sem_post(&tried);
        CHECK_OK(kind == 0   ? pthread_join(thread, &result)
                 : kind == 1 ? pthread_timedjoin_np(thread, &result, &until)
                             : pthread_clockjoin_np(thread, &result, CLOCK_MONOTONIC, &later));
    }
}

static void c11() {
    CHECK_EQ(mtx_init(&c11_mutex, mtx_timed), thrd_success);
    CHECK_EQ(cnd_init(&c11_cond), thrd_success);
    const auto holds = [] {
        CHECK_EQ(mtx_lock(&c11_mutex), thrd_success);
        hold();
        CHECK_EQ(mtx_unlock(&c11_mutex), thrd_success);
    };
    pair("mtx_lock", holds, [] { CHECK_EQ(mtx_lock(&c11_mutex), thrd_success); });
    CHECK_EQ(mtx_unlock(&c11_mutex), thrd_success);
    pair(
        "mtx_timedlock", holds, [] { CHECK_EQ(mtx_trylock(&c11_mutex), thrd_busy); },
        [] {
            const timespec until = minute(CLOCK_REALTIME);
            CHECK_EQ(mtx_timedlock(&c11_mutex, &until), thrd_success);
        });
    CHECK_EQ(mtx_unlock(&c11_mutex), thrd_success);
    const auto wait = [] {
        const timespec until = minute(CLOCK_REALTIME);
        CHECK_EQ(mtx_lock(&c11_mutex), thrd_success);
        while (flag == 0) CHECK_EQ(cnd_timedwait(&c11_cond, &c11_mutex, &until), thrd_success);
        flag = 0;
        CHECK_EQ(mtx_unlock(&c11_mutex), thrd_success);
    };
    pair(
        "cnd_signal",
        [] {
            hold();
            mtx_lock(&c11_mutex);
            flag = 1;
            CHECK_EQ(cnd_signal(&c11_cond), thrd_success);
            mtx_unlock(&c11_mutex);
        },
        wait);
    pair(
        "cnd_broadcast",
        [] {
            hold();
            mtx_lock(&c11_mutex);
            flag = 1;
            CHECK_EQ(cnd_broadcast(&c11_cond), thrd_success);
            mtx_unlock(&c11_mutex);
        },
        wait);
    cnd_destroy(&c11_cond);
}

static void* all(void*) {
    mutexes();
    conditions();
    rwlocks();
    semaphores();
    others();
    c11();
    return nullptr;
}

int main() {
    CHECK_OK(sem_init(&held, 0, 0));
    CHECK_OK(sem_init(&tried, 0, 0));
    finish(start(all, nullptr));
    return 0;
}
