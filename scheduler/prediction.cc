// See prediction.h.
#include "scheduler/prediction.h"

#include "scheduler/base/counters.h"
#include "scheduler/scheduler.h"

namespace pfiber {

Platform::Atomic<uint32_t> g_predictions[kPredictionSlots];

namespace {

constexpr int64_t kLongNs = 20000;     // the monitor's shortest sleep; a hand-off costs about 4 µs
constexpr uint32_t kForgetUnits = 15;  // of 67 ms: a second
constexpr uint32_t kMeasureOneOf = 32;  // of the calls that keep their processor

uint32_t tag_of(uint32_t key) { return key >> 24; }
uint32_t evidence_of(uint32_t word) { return word >> 16 & 0xff; }
uint32_t units(int64_t now_ns) { return static_cast<uint32_t>(now_ns >> 26) & 0xffff; }

// Somebody would run, or has to poll, while the call lasts.
bool others_would_run(Processor* processor) {
    if (!processor->queue.is_empty() || !g_scheduler.global.is_empty()) return true;
    // Events and timers belong to whoever sleeps in the pollers, if anybody does.
    return g_scheduler.sleeper_deadline_ns.load(std::memory_order_relaxed) == 0 &&
           g_scheduler.spinning.load(std::memory_order_relaxed) == 0 &&
           (processor->poller.waiters.load(std::memory_order_relaxed) > 0 ||
            processor->timers.earliest_ns() != kNever);
}

// Spread over call sequences of any length, unlike every 32nd call.
bool is_measured(uint32_t tick) {
    return tick * uint32_t{0x9E3779B1} < uint32_t{0xffffffff} / kMeasureOneOf;
}

}  // namespace

bool is_forgotten(uint32_t key, int64_t now_ns) {
    const uint32_t word = prediction_slot(key).load(std::memory_order_relaxed);
    return ((units(now_ns) - word) & 0xffff) > kForgetUnits;
}

void learn_call(uint32_t key, CallLength length, int64_t now_ns) {
    Platform::Atomic<uint32_t>& slot = prediction_slot(key);
    const uint32_t word = slot.load(std::memory_order_relaxed);
    const bool is_mine = word >> 24 == tag_of(key);
    uint32_t evidence = is_mine ? evidence_of(word) : 0;
    uint32_t when = word & 0xffff;
    switch (length) {
        case CallLength::kLong:
            if (evidence < 255) evidence += (255 - evidence) / 4 + 1;
            when = units(now_ns);
            break;
        case CallLength::kShort:
            // A short call says nothing about a slot that is another key's.
            if (evidence == 0) return;
            evidence -= evidence / 4 + 1;
            break;
        case CallLength::kFoundShort:
            if (evidence == 0) return;
            evidence -= evidence / 32 + 1;
            break;
    }
    slot.store(tag_of(key) << 24 | evidence << 16 | when, std::memory_order_relaxed);
}

void forget_calls() {
    for (auto& slot : g_predictions) slot.store(0, std::memory_order_relaxed);
}

void enter_predicted_call(Fiber* fiber, PredictedCall* call) {
    call->start_ns = 0;
    call->is_handed_off = false;
    if (call->key == 0) return enter_call(fiber);
    // A hint only: the monitor may be taking it.
    Processor* processor = fiber->worker->processor;
    if (processor == nullptr) return enter_call(fiber);
    if (__builtin_expect(call->history == CallHistory::kShort, 1)) {
        if (is_measured(processor->call_tick.load(std::memory_order_relaxed)))
            call->start_ns = Platform::now_ns();
        return enter_call(fiber);
    }
    call->start_ns = Platform::now_ns();
    call->is_handed_off = call->history == CallHistory::kLong &&
                          (call->is_known_long || !is_forgotten(call->key, call->start_ns)) &&
                          others_would_run(processor);
    if (!call->is_handed_off) return enter_call(fiber);
    COUNT(predicted_handoffs);
    enter_blocking_call(fiber);
    // The call alone; but the question that found it long has started the disk already.
    if (!call->is_known_long) call->start_ns = Platform::now_ns();
}

void exit_predicted_call(Fiber* fiber, PredictedCall* call) {
    const int64_t end_ns = call->start_ns == 0 ? 0 : Platform::now_ns();
    const bool was_taken = !exit_call(fiber) && !call->is_handed_off;
    if (call->key == 0) return;
    if (call->start_ns != 0) {
        const bool is_long = was_taken || end_ns - call->start_ns >= kLongNs;
        if (call->is_handed_off && !is_long) {
            COUNT(handoffs_in_vain);
            learn_call(call->key, CallLength::kShort, end_ns);  // counts twice
        }
        learn_call(call->key, is_long ? CallLength::kLong : CallLength::kShort, end_ns);
    } else if (was_taken) {
        learn_call(call->key, CallLength::kLong, Platform::now_ns());
    }
}

}  // namespace pfiber
