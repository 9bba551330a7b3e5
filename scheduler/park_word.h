// The word on which a waiter and its wakers agree who ends the wait, and how.
//
// A wait has one sequence number.  arm() opens it; wakers may claim() it from then on; the waiter
// leaves its stack and commits; whoever claims first decides the outcome, every later claim of the
// same wait fails.  A claim before the commit is seen by the waiter (it does not sleep); a claim
// after it obliges the claimer to make the waiter runnable.  Stale claims carry an old sequence
// number and fail, so a waker may come late as long as the word itself is still mapped
// (invariant F1: exactly one claim succeeds per wait; F2: exactly one of waiter and claimer makes
// the fiber runnable).
//
// Go: the waiting status of a G with casgstatus, and the ready/wait states of a pollDesc.
#pragma once

#include <atomic>
#include <cstdint>

namespace pfiber {

// How a park ended.  Every caller of park() handles all of them.
enum class Wake : uint32_t {
    kReady = 0,    // the awaited event
    kTimeout = 1,  // the deadline
    kSignal = 2,   // a signal handler is to run on this fiber
    kCancel = 3,   // a cancellation request is pending
    kClosed = 4,   // the descriptor or object went away
};

template <class P>
class ParkWord {
  public:
    using Sequence = uint32_t;  // 24 bits, never 0

    enum class Claim { kFailed, kWaiterSees, kMustReady };

    // Waiter: opens a wait.
    Sequence arm() {
        const uint32_t next = ((word_.load(std::memory_order_relaxed) >> kShift) + 1) & kSequence;
        const Sequence sequence = next == 0 ? 1 : next;
        word_.store(sequence << kShift | kArmed, std::memory_order_seq_cst);
        return sequence;
    }

    // Waiter, after its stack is left: true when it sleeps now, false when it was claimed before.
    bool commit() {
        P::chaos_point();
        uint32_t word = word_.load(std::memory_order_relaxed);
        return (word & kStateMask) == kArmed &&
               word_.compare_exchange_strong(word, (word & ~kStateMask) | kParked,
                                             std::memory_order_seq_cst);
    }

    // Waker.  Ends wait `sequence` with `outcome`.
    Claim claim(Sequence sequence, Wake outcome) {
        uint32_t word = word_.load(std::memory_order_acquire);
        for (;;) {
            P::chaos_point();
            const uint32_t state = word & kStateMask;
            if (word >> kShift != sequence || (state != kArmed && state != kParked))
                return Claim::kFailed;
            const uint32_t claimed =
                sequence << kShift | static_cast<uint32_t>(outcome) << kOutcomeShift | kClaimed;
            if (word_.compare_exchange_weak(word, claimed, std::memory_order_acq_rel))
                return state == kArmed ? Claim::kWaiterSees : Claim::kMustReady;
        }
    }

    bool is_claimed() const {
        return (word_.load(std::memory_order_acquire) & kStateMask) == kClaimed;
    }

    // The sequence of the wait that is open now, 0 when none is.
    Sequence open_sequence() const {
        const uint32_t word = word_.load(std::memory_order_acquire);
        const uint32_t state = word & kStateMask;
        return state == kArmed || state == kParked ? word >> kShift : 0;
    }

    // Waiter, after the wait.
    Wake outcome() const {
        return static_cast<Wake>(word_.load(std::memory_order_acquire) >> kOutcomeShift & 7);
    }

    // Waiter: ends a wait that needs no sleep.  False when a waker was first (see outcome()).
    bool cancel() {
        uint32_t word = word_.load(std::memory_order_relaxed);
        return (word & kStateMask) == kArmed &&
               word_.compare_exchange_strong(word, word & ~kStateMask, std::memory_order_acq_rel);
    }

    // For who only looks on: the same value twice means the same wait in the same state, and when
    // that is "asleep" the waiter's stack was left alone in between.
    uint32_t value() const { return word_.load(std::memory_order_acquire); }
    static bool is_asleep(uint32_t value) { return (value & kStateMask) == kParked; }
    typename P::template Atomic<uint32_t>& raw() { return word_; }

  private:
    static constexpr uint32_t kIdle = 0, kArmed = 1, kParked = 2, kClaimed = 3, kStateMask = 3;
    static constexpr uint32_t kOutcomeShift = 2, kShift = 8, kSequence = 0xffffff;

    typename P::template Atomic<uint32_t> word_{kIdle};
};

}  // namespace pfiber
