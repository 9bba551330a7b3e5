// See prediction.h.
#include "scheduler/prediction.h"

#include "scheduler/base/counters.h"
#include "scheduler/scheduler.h"

namespace pfiber {

PredictionWord<Platform> g_predictions[kPredictionSlots];

namespace {

constexpr int64_t kLongNs = 20000;  // the monitor's shortest sleep; a hand-off costs about 4 µs
constexpr uint32_t kMeasureOneOf = 32;  // of the calls that keep their processor

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

void forget_calls() {
    for (auto& slot : g_predictions) slot.forget();
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
