// pthread_mutex_t of every kind, on fibers and on threads that are none.
//
// The uncontended path is inline here: one compare-and-swap each, nothing of the runtime is
// entered.
#pragma once

#include <sys/single_threaded.h>

#include "scheduler/runtime.h"
#include "shim/abi.h"
#include "shim/deadline.h"
#include "shim/self.h"

namespace pfiber::shim {

// Any thread, outside the runtime; never cancellation points.  Results are pthread error numbers.

// Everything but the uncontended plain case.
int mutex_lock_slow(Mutex* mutex, TimeLimit limit);
int mutex_unlock_slow(Mutex* mutex);

int mutex_trylock(Mutex* mutex);

// Around the wait of a condition variable: the users count stays, so that destroying the mutex
// meanwhile is refused.  Unlock answers EPERM as pthread_mutex_unlock does.
int mutex_unlock_for_wait(Mutex* mutex);
int mutex_lock_after_wait(Mutex* mutex);

// The caller holds it: from now on its waiters sleep in the kernel, because libc's own code (a
// process-shared condition variable) will unlock it.
void mutex_wait_in_kernel(Mutex* mutex);

// Marks what the fiber still holds of robust mutexes as abandoned.  At the end of a fiber, on it,
// outside the runtime.
void robust_mutexes_release(Fiber* fiber);

// Kinds whose whole story is the word: normal and adaptive, private, not robust.
inline bool mutex_is_plain(const Mutex* mutex) {
    const int kind = mutex->kind & ~Mutex::kElision;
    return kind == Mutex::kNormal || kind == Mutex::kAdaptive;
}

// Of a plain one.  False: it is held.
inline bool mutex_take_word(Mutex* mutex) {
    if (__libc_single_threaded) {
        if (mutex->word.load(std::memory_order_relaxed) != 0) return false;
        mutex->word.store(1, std::memory_order_relaxed);
        return true;
    }
    uint32_t expected = 0;
    return mutex->word.compare_exchange_strong(expected, 1, std::memory_order_acquire,
                                               std::memory_order_relaxed);
}

// Of a plain one.  False: contended; the word is untouched then.
inline bool mutex_free_word(Mutex* mutex) {
    if (__libc_single_threaded) {
        if (mutex->word.load(std::memory_order_relaxed) != 1) return false;
        mutex->word.store(0, std::memory_order_relaxed);
        return true;
    }
    uint32_t expected = 1;
    return mutex->word.compare_exchange_strong(expected, 0, std::memory_order_release,
                                               std::memory_order_relaxed);
}

inline void mutex_set_owner(Mutex* mutex) {
    mutex->owner.store(self_tid(), std::memory_order_relaxed);
    mutex->users++;
}

// The limit is looked at only when it has to wait.
inline int mutex_lock(Mutex* mutex, TimeLimit limit = kNoLimit) {
    if (__builtin_expect(mutex_is_plain(mutex), 1) && __builtin_expect(mutex_take_word(mutex), 1)) {
        mutex_set_owner(mutex);
        return 0;
    }
    return mutex_lock_slow(mutex, limit);
}

// Of a plain one with waiters: the oldest gets it, or is woken to compete for it.
void mutex_release_contended(Mutex* mutex);

inline int mutex_unlock(Mutex* mutex) {
    if (__builtin_expect(mutex_is_plain(mutex), 1)) {
        mutex->owner.store(0, std::memory_order_relaxed);
        mutex->users--;
        Fiber* self = current_fiber();
        if (__builtin_expect(!mutex_free_word(mutex), 0)) {
            mutex_release_contended(mutex);
            let_woken_run(self);
        }
        if (self == nullptr) return 0;
        // The place where a thread that makes no other call gives way.
        if (__builtin_expect(self->owes_turn, 0)) let_woken_run(self);
        check_attention(self);
        return 0;
    }
    return mutex_unlock_slow(mutex);
}

}  // namespace pfiber::shim
