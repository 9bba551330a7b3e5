// The only lock of the runtime: one futex word, taken with the in-runtime depth above zero, so that
// its holder is never preempted by us nor interrupted by a program's signal handler.
//
// Lock order, outermost first (never take one that stands further left or the same one twice):
//   world  ->  fiber registry  ->  descriptor  ->  wait-queue bucket  ->  timers of a processor  ->
//   scheduler
// Fibers are made runnable (scheduler lock) after the other locks are released wherever a list can
// be collected first.  Nothing below a lock calls malloc, a hook, or user code.
#pragma once

#include "scheduler/platform.h"

namespace pfiber {

// `kSpins`: critical sections are shorter than a futex round trip.
template <class P, int kSpins>
class BasicLock {
  public:
    void acquire() {
        P::chaos_point();
        uint32_t expected = kFree;
        if (word_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire)) return;
        acquire_slow();
    }

    // False: somebody holds it, or took it at this moment.
    bool try_acquire() {
        uint32_t expected = kFree;
        return word_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire);
    }

    void release() {
        if (word_.exchange(kFree, std::memory_order_release) == kContended) P::futex_wake(word_, 1);
    }

    void reset() { word_.store(kFree, std::memory_order_relaxed); }  // fork child

  private:
    static constexpr uint32_t kFree = 0, kHeld = 1, kContended = 2;

    void acquire_slow() {
        for (int i = 0; i < kSpins; i++) {
            P::pause();
            uint32_t expected = kFree;
            if (word_.load(std::memory_order_relaxed) == kFree &&
                word_.compare_exchange_weak(expected, kHeld, std::memory_order_acquire))
                return;
        }
        while (word_.exchange(kContended, std::memory_order_acquire) != kFree)
            P::futex_wait(word_, kContended);
    }

    typename P::template Atomic<uint32_t> word_{kFree};
};

using Lock = BasicLock<Platform, 100>;

// For its scope.  In the runtime, or on a thread that is no fiber.
class LockGuard {
  public:
    explicit LockGuard(Lock& lock) : lock_(lock) { lock_.acquire(); }
    ~LockGuard() { lock_.release(); }
    LockGuard(const LockGuard&) = delete;
    LockGuard& operator=(const LockGuard&) = delete;

  private:
    Lock& lock_;
};

}  // namespace pfiber
