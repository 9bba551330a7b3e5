// CPU time of a fiber: what its workers' CPU clocks advanced while it ran.
//
// Costs two system calls a switch, so it is off until somebody asks for the first time; time from
// before counts for the main fiber only.  Unit: nanoseconds.
#pragma once

#include <cstdint>

#include "scheduler/fiber.h"

namespace pfiber {

struct Worker;

extern bool g_cpu_accounting;

// What was used before somebody asked is known from the ticks of the CPU timers alone, to a few
// milliseconds; from then on from the workers' clocks at each switch.  In the handler of such a
// tick.
inline void cpu_time_tick(Fiber* fiber, int64_t period_ns) {
    if (!g_cpu_accounting) fiber->cpu_ns += period_ns;
}
// In switch_to(), on the worker.
void cpu_time_switch(Worker* worker, Fiber* from, Fiber* to);
// Of any fiber, from any fiber.  Switches the accounting on.
int64_t cpu_time_of(Fiber* fiber);

}  // namespace pfiber
