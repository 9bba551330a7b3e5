// See cpu_time.h.
#include "scheduler/cpu_time.h"

#include "scheduler/processor.h"
#include "scheduler/runtime.h"

namespace pfiber {

bool g_cpu_accounting = false;

namespace {

int64_t worker_cpu_ns() { return host::clock_ns(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace

void cpu_time_switch(Worker* worker, Fiber* from, Fiber* to) {
    (void)worker;
    const int64_t now = worker_cpu_ns();
    if (from->cpu_start_ns >= 0) from->cpu_ns += now - from->cpu_start_ns;
    from->cpu_start_ns = -1;
    to->cpu_start_ns = now;
}

int64_t cpu_time_of(Fiber* fiber) {
    Fiber* self = current_fiber();
    // Not moved to another worker between the two readings: their clocks have nothing in common.
    RuntimeSection section(self);
    if (!g_cpu_accounting) {
        g_cpu_accounting = true;
    }
    // It was running when the accounting began, and perhaps nobody ever makes it yield.
    if (self->cpu_start_ns < 0) self->cpu_start_ns = worker_cpu_ns();
    const int64_t total = fiber->cpu_ns;
    const int64_t start = fiber->cpu_start_ns;
    if (start < 0) return total;
    Worker* worker = fiber->worker;
    const int64_t now = fiber == self ? worker_cpu_ns() : host::thread_cpu_ns(worker->tid.load());
    return now > start ? total + now - start : total;
}

}  // namespace pfiber
