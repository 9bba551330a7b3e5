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

// In switch_to(), on the worker.
void cpu_time_switch(Worker* worker, Fiber* from, Fiber* to);
// Of any fiber, from any fiber.  Switches the accounting on.
int64_t cpu_time_of(Fiber* fiber);

}  // namespace pfiber
