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
// milliseconds: the running fiber gets what its worker used since the tick before (on a loaded
// machine the kernel's ticks come late, so they are not counted but measured).  From the first
// question on it is known from the workers' clocks at each switch.  In the handler of such a tick.
void cpu_time_tick(Fiber* fiber);
// In switch_to(), on the worker.
void cpu_time_switch(Worker* worker, Fiber* from, Fiber* to);
// Of any fiber, from any fiber.  Switches the accounting on.
int64_t cpu_time_of(Fiber* fiber);

}  // namespace pfiber
