// See cpu_time.h.
#include "scheduler/cpu_time.h"

#include "scheduler/processor.h"
#include "scheduler/runtime.h"

namespace pfiber {

bool g_cpu_accounting = false;

namespace {

int64_t worker_cpu_ns() { return host::clock_ns(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace

void cpu_time_tick(Fiber* fiber) {
    Worker* worker = fiber->worker;
    const int64_t now = worker_cpu_ns();
    fiber->cpu_ns += now - worker->ticked_cpu_ns;
    worker->ticked_cpu_ns = now;
}

void cpu_time_switch(Worker* worker, Fiber* from, Fiber* to) {
    (void)worker;
    const int64_t now = worker_cpu_ns();
    if (from->cpu_start_ns >= 0) from->cpu_ns += now - from->cpu_start_ns;
    from->cpu_start_ns = -1;
    to->cpu_start_ns = now;
}

namespace {

// Another one that runs since before the accounting began, and perhaps never yields: from now on.
// It may leave that worker at this very moment; then its next switch starts anew.
void begin_for_running(Fiber* fiber) {
    const FiberState state = fiber->state.load();
    const Worker* worker = fiber->worker;
    if ((state != FiberState::kRunning && state != FiberState::kInCall) || worker == nullptr)
        return;
    const int64_t now = host::thread_cpu_ns(worker->tid.load());
    int64_t none = -1;
    if (__atomic_compare_exchange_n(&fiber->cpu_start_ns, &none, now, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST) &&
        static_cast<Worker* volatile&>(fiber->worker) != worker)
        __atomic_store_n(&fiber->cpu_start_ns, -1, __ATOMIC_SEQ_CST);
}

}  // namespace

int64_t cpu_time_of(Fiber* fiber) {
    Fiber* self = current_fiber();
    // Not moved to another worker between the two readings: their clocks have nothing in common.
    RuntimeSection section(self);
    if (!g_cpu_accounting) {
        g_cpu_accounting = true;
        std::atomic_signal_fence(std::memory_order_seq_cst);  // no tick comes in between
        cpu_time_tick(self);
    }
    // It was running when the accounting began, and perhaps nobody ever makes it yield.
    if (self->cpu_start_ns < 0) self->cpu_start_ns = worker_cpu_ns();
    if (fiber != self && fiber->cpu_start_ns < 0) begin_for_running(fiber);
    const int64_t total = fiber->cpu_ns;
    const int64_t start = fiber->cpu_start_ns;
    if (start < 0) return total;
    Worker* worker = fiber->worker;
    const int64_t now = fiber == self ? worker_cpu_ns() : host::thread_cpu_ns(worker->tid.load());
    return now > start ? total + now - start : total;
}

}  // namespace pfiber
