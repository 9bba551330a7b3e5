// Whether a call that may block will, learned from how long it took before.
//
// The caller of a "maybe" call names it by a key (the call and the kind of file or the place it is
// made from).  A short history per key decides between keeping the processor, which costs nothing
// when the call is short, and handing it off first, which costs some 4 µs and keeps the others from
// waiting until the monitor notices.  Rejected: a time stamp around every call (a tenth of a cached
// read), and Go's rule of one choice per call site made by the programmer (SyscallBlock).
//
// The table is bounded and lock-free: a word per slot, stored whole; an update that is lost to a
// race is one observation less.  It forgets: a key without a long call in the last second counts as
// unknown, and each short call takes a quarter of the evidence away.
#pragma once

#include "scheduler/fiber.h"

namespace pfiber {

// Never 0, which means "not predicted".
constexpr uint32_t call_key(long number, uint64_t where) {
    const uint64_t mixed =
        (where ^ (static_cast<uint64_t>(number) << 48)) * uint64_t{0x9E3779B97F4A7C15};
    return static_cast<uint32_t>(mixed >> 32) | 1;
}

enum class CallHistory : uint8_t {
    kShort,  // or unknown
    kMixed,  // some were long: worth finding out, not worth a hand-off
    kLong,   // hand off
};

// A slot: tag (8 bits) | evidence (8) | time of the last long call (16, in units of 67 ms).
constexpr uint32_t kPredictionSlots = 1024;
extern Platform::Atomic<uint32_t> g_predictions[kPredictionSlots];

inline Platform::Atomic<uint32_t>& prediction_slot(uint32_t key) {
    return g_predictions[(key >> 1) % kPredictionSlots];
}

// The table's content for one key.  Any thread.
inline CallHistory call_history(uint32_t key) {
    // Of 255.  A hand-off pays when at least two of three calls are long: five long ones in a row
    // do it, two short ones take it back.
    constexpr uint32_t kConvinced = 180;
    constexpr uint32_t kSuspected = 24;  // worth a look at the clock, or into the page cache
    const uint32_t word = prediction_slot(key).load(std::memory_order_relaxed);
    if (__builtin_expect(word >> 24 != key >> 24, 1)) return CallHistory::kShort;
    const uint32_t evidence = word >> 16 & 0xff;
    if (evidence < kSuspected) return CallHistory::kShort;
    return evidence < kConvinced ? CallHistory::kMixed : CallHistory::kLong;
}

// The last long call of this key is more than a second ago.
bool is_forgotten(uint32_t key, int64_t now_ns);
enum class CallLength : uint8_t {
    kLong,
    kShort,
    kFoundShort,  // found out beforehand at little cost: it takes much less of the evidence away
};
// One observation.  Any thread.
void learn_call(uint32_t key, CallLength length, int64_t now_ns);
void forget_calls();  // fork child, and tests

// One call, between enter_predicted_call() and exit_predicted_call() on the same fiber.
struct PredictedCall {
    explicit PredictedCall(uint32_t its_key) : key(its_key), history(call_history(its_key)) {}
    uint32_t key;  // 0: as enter_call() does
    CallHistory history;
    bool is_known_long = false;  // found out by other means: whatever the history says
    bool is_handed_off = false;
    int64_t start_ns = 0;  // 0: not measured
};

// A region as enter_call() or enter_blocking_call() makes it.  On a fiber, outside the runtime.
void enter_predicted_call(Fiber* fiber, PredictedCall* call);
void exit_predicted_call(Fiber* fiber, PredictedCall* call);

}  // namespace pfiber
