// See futex_pi.h.  Unlike the kernel's, an unlock frees the word and wakes one waiter, who competes
// for it, until one has waited for a millisecond: within a process of fibers there is nobody to
// boost, and the order of waiters is that of the queue.
#include "shim/futex_pi.h"

#include <errno.h>
#include <sys/syscall.h>

#include "scheduler/runtime.h"
#include "shim/owner_word.h"
#include "shim/self.h"

namespace pfiber::shim {

namespace {

bool is_unchanged(const void* word, void* expected) {
    return static_cast<const Word*>(word)->load(std::memory_order_seq_cst) ==
           *static_cast<const uint32_t*>(expected);
}

bool exists(uint32_t tid) {
    OptionalSection section;
    if (fiber_with_tid(tid) != nullptr) return true;
    return host::raw_tgkill(host::raw_getpid(), static_cast<int>(tid), 0) == 0;
}

// 0, -EDEADLK, or -EAGAIN with the word that was seen.
long take(Word* word, uint32_t self, uint32_t waiters, uint32_t* seen) {
    *seen = word->load(std::memory_order_relaxed);
    for (;;) {
        const uint32_t owner = *seen & Mutex::kTid;
        if (owner == self) return -EDEADLK;
        if (owner != 0) return -EAGAIN;
        const uint32_t wanted = self | waiters | (*seen & (Mutex::kOwnerDied | Mutex::kWaiters));
        if (word->compare_exchange_weak(*seen, wanted, std::memory_order_acquire)) return 0;
    }
}

}  // namespace

long futex_lock_pi(Word* word, const Deadline& deadline) {
    const uint32_t self = self_tid();
    uint32_t waiters = 0;  // set once the caller has slept: it cannot know who else sleeps
    uint32_t seen = 0;
    WaitRequest request;
    request.address = word;
    request.validate = is_unchanged;
    request.argument = &seen;
    request.reason = WaitReason::kFutex;
    request.identity = self;
    for (;;) {
        const long taken = take(word, self, waiters, &seen);
        if (taken != -EAGAIN) return taken;
        // An owner that gave the word back may have ended since.
        if (!exists(seen & Mutex::kTid)) {
            if (is_unchanged(word, &seen)) return -ESRCH;
            continue;
        }
        if ((seen & Mutex::kWaiters) == 0 &&
            !word->compare_exchange_strong(seen, seen | Mutex::kWaiters, std::memory_order_relaxed))
            continue;
        seen |= Mutex::kWaiters;
        if (request.since_ns == 0) request.since_ns = Platform::now_ns();
        request.deadline_ns = deadline.monotonic_ns();
        WaitResult result;
        {
            OptionalSection section;
            result = wait_on_address(request);
        }
        if (result.handed) return 0;
        if (result.outcome == Wake::kTimeout && deadline.has_passed()) return -ETIMEDOUT;
        waiters = Mutex::kWaiters;
        request.at_front = result.validated;
    }
}

long futex_trylock_pi(Word* word) {
    uint32_t seen;
    return take(word, self_tid(), 0, &seen);
}

long futex_unlock_pi(Word* word) {
    const uint32_t self = self_tid();
    if ((word->load(std::memory_order_relaxed) & Mutex::kTid) != self) return -EPERM;
    owner_word_release(word);
    return 0;
}

bool futex_owner_exists(const Word* word) {
    const uint32_t tid = word->load(std::memory_order_relaxed) & Mutex::kTid;
    return tid == 0 || exists(tid);
}

bool futex_owner_is_fiber(const Word* word) {
    const uint32_t tid = word->load(std::memory_order_relaxed) & Mutex::kTid;
    if (tid == 0) return false;
    OptionalSection section;
    return fiber_with_tid(tid) != nullptr;
}

}  // namespace pfiber::shim
