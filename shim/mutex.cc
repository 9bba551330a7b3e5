// Mutexes: the contended path and the kinds.
//
// Word: 0 free, 1 held, 2 held and somebody may wait.  A waiter sets 2 and waits on the word's
// address; whoever unlocks a 2 frees it and wakes one, who sets 2 again when it takes the lock: it
// cannot know whether others wait.  A waiter of more than a millisecond gets the lock handed over:
// the word then stays 2 (release_address).  Unlock's last touch of the object is that release.
//
// Words on which code of libc itself waits or wakes (ld.so's locks, priority protection, a mutex
// used with a process-shared condition variable) are waited for in the kernel.
#include "shim/mutex.h"

#include <errno.h>
#include <sched.h>

#include "scheduler/host/libc.h"
#include "scheduler/wait_queue.h"
#include "shim/libc_sync.h"
#include "shim/mutex_kinds.h"
#include "shim/thread.h"

namespace pfiber::shim {

namespace {

constexpr uint32_t kContended = 2;
constexpr int kSpinRounds = 4, kPausesPerRound = 30;  // Go's

uint32_t state_of(uint32_t word) { return word & ~Mutex::kCeiling; }

bool waits_in_kernel(const Mutex* mutex) {
    return mutex->wait_in_kernel != 0 || (mutex->kind & Mutex::kProtect) != 0 ||
           host::is_in_loader_data(mutex);
}

bool is_contended(const void*, void* mutex) {
    const auto* object = static_cast<const Mutex*>(mutex);
    return state_of(object->word.load(std::memory_order_relaxed)) == kContended &&
           object->wait_in_kernel == 0;
}

// Takes a free word as contended, or marks a held one so.  True: taken.
bool take_or_mark(Word& word) {
    uint32_t seen = word.load(std::memory_order_relaxed);
    for (;;) {
        const uint32_t state = state_of(seen);
        if (state == kContended) return false;
        if (word.compare_exchange_weak(seen, (seen & Mutex::kCeiling) | kContended,
                                       std::memory_order_acquire, std::memory_order_relaxed))
            return state == 0;
    }
}

bool take_free(Word& word) {
    uint32_t seen = word.load(std::memory_order_relaxed);
    return state_of(seen) == 0 &&
           word.compare_exchange_strong(seen, seen | 1, std::memory_order_acquire,
                                        std::memory_order_relaxed);
}

int wait_in_kernel_once(Word& word, const Deadline& deadline) {
    const uint32_t seen = word.load(std::memory_order_relaxed);
    if (state_of(seen) != kContended) return 0;
    BlockingRegion region;
    Platform::futex_wait(word, seen, deadline.monotonic_ns());
    return deadline.has_passed() ? ETIMEDOUT : 0;
}

// The word, whatever the kind.
int take_contended(Mutex* mutex, TimeLimit limit) {
    Word& word = mutex->word;
    if (spinning_may_help(current_fiber())) {
        for (int round = 0; round < kSpinRounds; round++) {
            for (int i = 0; i < kPausesPerRound; i++) Platform::pause();
            if (take_free(word)) return 0;
        }
    }
    if (limit.is_before_epoch() && (mutex->kind & (Mutex::kInherit | Mutex::kProtect)) == 0)
        return ETIMEDOUT;
    if (!limit.has_valid_time()) return EINVAL;
    if (limit.is_before_epoch() && (mutex->kind & Mutex::kInherit) != 0) return EINVAL;
    const Deadline deadline = limit.deadline();
    WaitRequest request;
    request.address = &word;
    request.validate = is_contended;
    request.argument = mutex;
    request.reason = WaitReason::kMutex;
    for (;;) {
        Platform::chaos_point();
        if (take_or_mark(word)) return 0;
        if (waits_in_kernel(mutex)) {
            if (wait_in_kernel_once(word, deadline) == 0) continue;
            return ETIMEDOUT;
        }
        if (request.since_ns == 0) request.since_ns = Platform::now_ns();
        request.deadline_ns = deadline.monotonic_ns();
        WaitResult result;
        {
            OptionalSection section;
            result = wait_on_address(request);
        }
        if (result.handed) return 0;
        if (result.outcome == Wake::kTimeout && deadline.has_passed()) return ETIMEDOUT;
        request.at_front = result.validated && result.outcome == Wake::kReady;
    }
}

int lock_kind(Mutex* mutex, TimeLimit limit, bool keep_users) {
    if (mutex->kind < 0 || (mutex->kind & ~Mutex::kKnown) != 0) return EINVAL;  // destroyed
    const int kind = mutex->kind & ~Mutex::kElision;
    if ((kind & Mutex::kRobust) != 0) return robust_lock(mutex, kind, limit, keep_users);
    const uint32_t self = self_tid();
    const int type = kind & Mutex::kTypeMask;
    if (mutex->owner.load(std::memory_order_relaxed) == self) {
        if (type == Mutex::kErrorcheck) return EDEADLK;
        if (type == Mutex::kRecursive) {
            if (mutex->count + 1 == 0) return EAGAIN;
            mutex->count++;
            return 0;
        }
    }
    int ceiling = 0;
    if ((kind & Mutex::kProtect) != 0)
        if (const int rc = mutex_enter_ceiling(mutex, &ceiling); rc != 0) return rc;
    if (!take_free(mutex->word)) {
        const int result = take_contended(mutex, limit);
        if (result != 0 && ceiling != 0) mutex_leave_ceiling(ceiling);
        if (result != 0) return result;
    }
    if (type == Mutex::kRecursive) mutex->count = 1;
    mutex->owner.store(self, std::memory_order_relaxed);
    if (!keep_users) mutex->users++;
    return 0;
}

void free_word(void* argument) {
    auto& word = *static_cast<Word*>(argument);
    uint32_t seen = word.load(std::memory_order_relaxed);
    while (!word.compare_exchange_weak(seen, seen & Mutex::kCeiling, std::memory_order_seq_cst)) {
    }
}

void release_word(Mutex* mutex) {
    if ((mutex->kind & Mutex::kProtect) == 0 && mutex_free_word(mutex)) return;
    mutex_release_contended(mutex);
}

int unlock_kind(Mutex* mutex, bool keep_users) {
    if (mutex->kind < 0 || (mutex->kind & ~Mutex::kKnown) != 0) return EINVAL;
    const int kind = mutex->kind & ~Mutex::kElision;
    if ((kind & Mutex::kRobust) != 0) return robust_unlock(mutex, keep_users);
    const int type = kind & Mutex::kTypeMask;
    const bool checks =
        type == Mutex::kRecursive || type == Mutex::kErrorcheck || (kind & Mutex::kInherit) != 0;
    if (checks && (mutex->owner.load(std::memory_order_relaxed) != self_tid() ||
                   state_of(mutex->word.load(std::memory_order_relaxed)) == 0))
        return EPERM;
    if (type == Mutex::kRecursive && --mutex->count != 0) return 0;
    mutex->owner.store(0, std::memory_order_relaxed);
    if (!keep_users) mutex->users--;
    const int ceiling = (kind & Mutex::kProtect) != 0 ? mutex_ceiling(mutex) : 0;
    release_word(mutex);
    if (ceiling != 0) mutex_leave_ceiling(ceiling);
    return 0;
}

// A hint: somebody may mark it meanwhile.
bool is_marked_contended(const Mutex* mutex) {
    const uint32_t word = mutex->word.load(std::memory_order_relaxed);
    return (mutex->kind & Mutex::kRobust) != 0 ? (word & Mutex::kWaiters) != 0
                                               : state_of(word) == kContended;
}

bool is_shared(const Mutex* mutex) {
    return mutex->kind >= 0 && (mutex->kind & Mutex::kShared) != 0;
}

int as_libc(Mutex* mutex, int (*function)(pthread_mutex_t*)) {
    return function(reinterpret_cast<pthread_mutex_t*>(mutex));
}

}  // namespace

void mutex_release_contended(Mutex* mutex) {
    Word* word = &mutex->word;
    const bool in_kernel = waits_in_kernel(mutex);
    release_address(word, free_word, word);
    if (in_kernel) Platform::futex_wake(*word, 1);
}

int mutex_lock_slow(Mutex* mutex, TimeLimit limit) {
    if (!is_shared(mutex)) return lock_kind(mutex, limit, false);
    if (current_fiber() != nullptr) return shared_lock(mutex, limit);
    auto* object = reinterpret_cast<pthread_mutex_t*>(mutex);
    return limit.time == nullptr
               ? libc_sync().pthread_mutex_lock(object)
               : libc_sync().pthread_mutex_clocklock(object, limit.clock, limit.time);
}

int mutex_unlock_slow(Mutex* mutex) {
    Fiber* self = current_fiber();
    if (is_shared(mutex))
        return self != nullptr ? shared_unlock(mutex)
                               : as_libc(mutex, libc_sync().pthread_mutex_unlock);
    const bool was_contended = is_marked_contended(mutex);
    const int result = unlock_kind(mutex, false);
    if (self != nullptr) {
        if (result == 0 && (was_contended || self->owes_turn)) let_woken_run(self);
        check_attention(self);
    }
    return result;
}

int mutex_trylock(Mutex* mutex) {
    if (mutex_is_plain(mutex)) {
        if (!mutex_take_word(mutex)) return EBUSY;
        mutex_set_owner(mutex);
        return 0;
    }
    if (mutex->kind < 0 || (mutex->kind & ~Mutex::kKnown) != 0) return EINVAL;
    if (is_shared(mutex))
        return current_fiber() != nullptr ? shared_trylock(mutex)
                                          : as_libc(mutex, libc_sync().pthread_mutex_trylock);
    const int kind = mutex->kind & ~Mutex::kElision;
    if ((kind & Mutex::kRobust) != 0) return robust_trylock(mutex, kind);
    const int type = kind & Mutex::kTypeMask;
    const uint32_t self = self_tid();
    if (mutex->owner.load(std::memory_order_relaxed) == self) {
        if (type == Mutex::kRecursive) {
            if (mutex->count + 1 == 0) return EAGAIN;
            mutex->count++;
            return 0;
        }
        constexpr int kWithProtocol = Mutex::kInherit | Mutex::kProtect;
        if (type == Mutex::kErrorcheck && (kind & kWithProtocol) != 0) return EDEADLK;
    }
    int ceiling = 0;
    if ((kind & Mutex::kProtect) != 0)
        if (const int rc = mutex_enter_ceiling(mutex, &ceiling); rc != 0) return rc;
    if (!take_free(mutex->word)) {
        if (ceiling != 0) mutex_leave_ceiling(ceiling);
        return EBUSY;
    }
    if (type == Mutex::kRecursive) mutex->count = 1;
    mutex->owner.store(self, std::memory_order_relaxed);
    mutex->users++;
    return 0;
}

int mutex_unlock_for_wait(Mutex* mutex) {
    if (is_shared(mutex)) return mutex_unlock_slow(mutex);
    return unlock_kind(mutex, true);
}

int mutex_lock_after_wait(Mutex* mutex) {
    if (is_shared(mutex)) return mutex_lock_slow(mutex, kNoLimit);
    return lock_kind(mutex, kNoLimit, true);
}

void mutex_wait_in_kernel(Mutex* mutex) {
    if (mutex->wait_in_kernel != 0) return;
    mutex->wait_in_kernel = 1;
    // Those who wait in our queue already come back and see the mark.
    wake_address(&mutex->word, INT32_MAX);
}

}  // namespace pfiber::shim
