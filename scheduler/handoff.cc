// System calls that may block: the processor does not wait with them.
//
// "Maybe" calls keep their processor marked kInCall; the monitor takes it by compare-and-swap when
// the call lasts, and the fiber finds out at exit_call().  Blocking calls hand it off first. During
// the call the fiber is outside the runtime (its signal handlers run), with in_call set.
// Go: entersyscall, entersyscallblock, exitsyscall.
#include "scheduler/base/counters.h"
#include "scheduler/scheduler.h"

namespace pfiber {

void enter_call(Fiber* fiber) {
    RuntimeSection::enter(fiber);
    Processor* processor = fiber->worker->processor;
    if (__builtin_expect(processor != nullptr, 1)) count_call(processor);
    fiber->in_call = true;
    fiber->state.store(FiberState::kInCall, std::memory_order_relaxed);
    if (__builtin_expect(processor != nullptr, 1)) publish_call(processor);
    if (g_scheduler.monitor_asleep.load(std::memory_order_seq_cst) != 0) wake_monitor();
    fiber->depth--;  // not leave(): attention is looked at on the way back
}

void count_calls() {
    int64_t sum = 0;
    for (int i = 0; i < g_scheduler.processor_count; i++)
        sum += g_scheduler.processors[i]->call_tick.load(std::memory_order_relaxed);
    // Each retake counted as one more; what was handed off first did not count.
    g_counters.calls.store(sum - COUNT_VALUE(retakes) + COUNT_VALUE(predicted_handoffs),
                           std::memory_order_relaxed);
}

void enter_blocking_call(Fiber* fiber) {
    RuntimeSection::enter(fiber);
    Worker* worker = fiber->worker;
    COUNT(handoffs);
    fiber->in_call = true;
    fiber->state.store(FiberState::kInCall, std::memory_order_relaxed);
    if (worker->processor != nullptr) hand_off(release_processor(worker));
    fiber->depth--;
}

namespace {

bool reacquire(Worker* worker) {
    Processor* old = worker->old_processor;
    Processor* processor = nullptr;
    LockGuard guard(g_scheduler.lock);
    // The old processor's caches are warm; the list is short.
    for (Processor** at = &g_scheduler.idle_processors; *at != nullptr; at = &(*at)->idle_next) {
        if (*at != old) continue;
        *at = old->idle_next;
        old->idle_next = nullptr;
        g_scheduler.idle_processor_count.fetch_sub(1);
        processor = old;
        break;
    }
    if (processor == nullptr) processor = take_idle_processor();
    if (processor == nullptr) return false;
    acquire_processor(worker, processor);
    return true;
}

}  // namespace

bool exit_call(Fiber* fiber) {
    fiber->depth++;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    Worker* worker = fiber->worker;
    const bool is_beside = fiber->runs_beside;
    const bool is_kept = is_beside || return_from_call<Platform>(worker);
    const bool has_processor = is_kept || reacquire(worker);
    fiber->in_call = false;
    if (has_processor) fiber->state.store(FiberState::kRunning, std::memory_order_relaxed);
    // Where the kernel has no thread for those who wait, one that goes from call to call must not
    // keep this one for itself.
    if (!has_processor ||
        (!is_beside && g_scheduler.thread_refused.load(std::memory_order_relaxed) != 0 &&
         !g_scheduler.global.is_empty()))
        leave_fiber(fiber, AfterSwitch::kYieldGlobal);
    RuntimeSection::leave(fiber);
    return is_kept;
}

}  // namespace pfiber
