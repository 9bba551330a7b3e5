// Synchronisation: the bodies of the hooks; what they mean is in shim/.
//
// Objects are initialised by libc's own functions: the format is libc's.
#include <errno.h>

#include "interpose/hooks.h"
#include "interpose/io.h"
#include "scheduler/host/libc.h"
#include "scheduler/runtime.h"
#include "scheduler/wait_queue.h"
#include "shim/barrier.h"
#include "shim/cond.h"
#include "shim/mutex.h"
#include "shim/rwlock.h"
#include "shim/semaphore.h"

using namespace pfiber;
using namespace pfiber::shim;

namespace {

int with_errno(int error) {
    if (__builtin_expect(error == 0, 1)) return 0;
    errno = error;
    return -1;
}

int as_c11(int error) {
    switch (error) {
        case 0:
            return thrd_success;
        case EBUSY:
            return thrd_busy;
        case ETIMEDOUT:
            return thrd_timedout;
        case ENOMEM:
            return thrd_nomem;
        default:
            return thrd_error;
    }
}

Cond* cond_of(cnd_t* cond) { return reinterpret_cast<Cond*>(cond); }

// A word of libc's low-level locks: 0 free, 1 held, 2 held and somebody may wait.
bool is_contended(const void* address, void*) {
    return static_cast<const Word*>(address)->load(std::memory_order_relaxed) == 2;
}

// ld.so takes and frees its locks without us, and the runtime itself may not be entered twice.
bool parks_on(const Fiber* fiber, const void* word) {
    return fiber != nullptr && fiber->depth == 0 && !fiber->in_call &&
           !host::is_in_loader_data(word);
}

}  // namespace

extern "C" {

// It locks the mutex inside libc, and waits there for its owner.
int pf_pthread_mutex_setprioceiling(pthread_mutex_t* mutex, int ceiling, int* old) {
    return interpose::in_region(
        [&] { return real(pthread_mutex_setprioceiling)(mutex, ceiling, old); });
}

// libc marks every robust mutex as shared, because the kernel that finds an owner dead wakes across
// processes.  For us the difference is who serves the wait.
int pf_pthread_mutex_init(pthread_mutex_t* mutex, const pthread_mutexattr_t* attributes) {
    const int result = real(pthread_mutex_init)(mutex, attributes);
    int shared = PTHREAD_PROCESS_PRIVATE;
    if (attributes != nullptr) pthread_mutexattr_getpshared(attributes, &shared);
    if (result == 0 && shared == PTHREAD_PROCESS_PRIVATE) Mutex::of(mutex)->kind &= ~Mutex::kShared;
    return result;
}

int pf_pthread_mutex_lock(pthread_mutex_t* mutex) { return mutex_lock(Mutex::of(mutex)); }
int pf_pthread_mutex_trylock(pthread_mutex_t* mutex) { return mutex_trylock(Mutex::of(mutex)); }
int pf_pthread_mutex_unlock(pthread_mutex_t* mutex) { return mutex_unlock(Mutex::of(mutex)); }

int pf_pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* time) {
    return mutex_lock(Mutex::of(mutex), {CLOCK_REALTIME, time});
}

int pf_pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock, const timespec* time) {
    const TimeLimit limit{clock, time};
    return limit.has_valid_clock() ? mutex_lock(Mutex::of(mutex), limit) : EINVAL;
}

int pf_pthread_cond_wait(pthread_cond_t* cond, pthread_mutex_t* mutex) {
    return cond_wait(Cond::of(cond), Mutex::of(mutex), kNoLimit);
}

int pf_pthread_cond_timedwait(pthread_cond_t* cond, pthread_mutex_t* mutex, const timespec* time) {
    Cond* object = Cond::of(cond);
    return cond_wait(object, Mutex::of(mutex), {cond_clock(object), time});
}

int pf_pthread_cond_clockwait(pthread_cond_t* cond, pthread_mutex_t* mutex, clockid_t clock,
                              const timespec* time) {
    const TimeLimit limit{clock, time};
    if (!limit.has_valid_clock()) return EINVAL;
    return cond_wait(Cond::of(cond), Mutex::of(mutex), limit);
}

int pf_pthread_cond_signal(pthread_cond_t* cond) { return cond_signal(Cond::of(cond)); }
int pf_pthread_cond_broadcast(pthread_cond_t* cond) { return cond_broadcast(Cond::of(cond)); }
int pf_pthread_cond_destroy(pthread_cond_t* cond) { return cond_destroy(Cond::of(cond)); }

int pf_pthread_rwlock_rdlock(pthread_rwlock_t* lock) {
    return rwlock_read(Rwlock::of(lock), kNoLimit);
}
int pf_pthread_rwlock_tryrdlock(pthread_rwlock_t* lock) {
    return rwlock_try_read(Rwlock::of(lock));
}
int pf_pthread_rwlock_timedrdlock(pthread_rwlock_t* lock, const timespec* time) {
    return rwlock_read(Rwlock::of(lock), {CLOCK_REALTIME, time});
}
int pf_pthread_rwlock_clockrdlock(pthread_rwlock_t* lock, clockid_t clock, const timespec* time) {
    return rwlock_read(Rwlock::of(lock), {clock, time});
}
int pf_pthread_rwlock_wrlock(pthread_rwlock_t* lock) {
    return rwlock_write(Rwlock::of(lock), kNoLimit);
}
int pf_pthread_rwlock_trywrlock(pthread_rwlock_t* lock) {
    return rwlock_try_write(Rwlock::of(lock));
}
int pf_pthread_rwlock_timedwrlock(pthread_rwlock_t* lock, const timespec* time) {
    return rwlock_write(Rwlock::of(lock), {CLOCK_REALTIME, time});
}
int pf_pthread_rwlock_clockwrlock(pthread_rwlock_t* lock, clockid_t clock, const timespec* time) {
    return rwlock_write(Rwlock::of(lock), {clock, time});
}
int pf_pthread_rwlock_unlock(pthread_rwlock_t* lock) { return rwlock_unlock(Rwlock::of(lock)); }

int pf_pthread_barrier_wait(pthread_barrier_t* barrier) {
    return barrier_wait(Barrier::of(barrier));
}
int pf_pthread_barrier_destroy(pthread_barrier_t* barrier) {
    return barrier_destroy(Barrier::of(barrier));
}

int pf_pthread_spin_lock(pthread_spinlock_t* lock) {
    Spin* spin = Spin::of(lock);
    if (!spin_trylock(spin)) spin_lock(spin);
    return 0;
}

int pf_pthread_once(pthread_once_t* once, void (*function)()) {
    once_run(Once::of(once), function);
    return 0;
}

void pf_call_once(once_flag* once, void (*function)()) { once_run(Once::of(once), function); }

int pf_sem_wait(sem_t* semaphore) {
    return with_errno(semaphore_wait(Semaphore::of(semaphore), kNoLimit));
}
int pf_sem_trywait(sem_t* semaphore) {
    return with_errno(semaphore_trywait(Semaphore::of(semaphore)));
}
int pf_sem_timedwait(sem_t* semaphore, const timespec* time) {
    return with_errno(semaphore_wait(Semaphore::of(semaphore), {CLOCK_REALTIME, time}));
}
int pf_sem_clockwait(sem_t* semaphore, clockid_t clock, const timespec* time) {
    const TimeLimit limit{clock, time};
    return with_errno(
        limit.has_valid_clock() ? semaphore_wait(Semaphore::of(semaphore), limit, false) : EINVAL);
}
int pf_sem_post(sem_t* semaphore) { return with_errno(semaphore_post(Semaphore::of(semaphore))); }

int pf_mtx_lock(mtx_t* mutex) { return as_c11(mutex_lock(Mutex::of(mutex))); }
int pf_mtx_trylock(mtx_t* mutex) { return as_c11(mutex_trylock(Mutex::of(mutex))); }
int pf_mtx_unlock(mtx_t* mutex) { return as_c11(mutex_unlock(Mutex::of(mutex))); }
int pf_mtx_timedlock(mtx_t* mutex, const timespec* time) {
    return as_c11(mutex_lock(Mutex::of(mutex), {CLOCK_REALTIME, time}));
}

int pf_cnd_wait(cnd_t* cond, mtx_t* mutex) {
    return as_c11(cond_wait(cond_of(cond), Mutex::of(mutex), kNoLimit));
}
int pf_cnd_timedwait(cnd_t* cond, mtx_t* mutex, const timespec* time) {
    return as_c11(cond_wait(cond_of(cond), Mutex::of(mutex), {CLOCK_REALTIME, time}));
}
int pf_cnd_signal(cnd_t* cond) { return as_c11(cond_signal(cond_of(cond))); }
int pf_cnd_broadcast(cnd_t* cond) { return as_c11(cond_broadcast(cond_of(cond))); }
void pf_cnd_destroy(cnd_t* cond) { cond_destroy(cond_of(cond)); }

// Redirected: libc calls these itself when one of its locks is contended.
void pf___lll_lock_wait_private(int* futex) {
    auto* word = reinterpret_cast<Word*>(futex);
    Fiber* fiber = current_fiber();
    while (word->exchange(2, std::memory_order_acquire) != 0) {
        if (!parks_on(fiber, futex)) {
            Platform::futex_wait(*word, 2);
            continue;
        }
        RuntimeSection section(fiber);
        wait_on_address(futex, is_contended, nullptr, nullptr, kNever, WaitReason::kLibcLock);
    }
}

void pf___lll_lock_wake_private(int* futex) {
    if (wake_address(futex, 1) == 0)
        Platform::futex_wake(*reinterpret_cast<Word*>(futex), 1);
    else
        let_woken_run(current_fiber());
}

}  // extern "C"
