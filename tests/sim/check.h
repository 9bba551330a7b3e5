// The invariants of scheduler/README.md, looked at while the scheduler runs; the report of a
// failure.
#pragma once

#include "scheduler/host/context.h"
#include "scheduler/scheduler.h"
#include "tests/sim/machine.h"

namespace pfiber::sim {

// Before each jump of a worker to a fiber: one owner per fiber, one worker per processor (W1, W2).
void check_switch(Worker* worker, host::Context target);
// In program code: the caller runs where it believes to run, with a processor of its own (W1).
void check_program(Fiber* fiber);
// Between any two steps: no fiber on two queues (Q1), work is not left lying (W3).
void check_now_and_then();
// Every kernel thread sleeps: nothing runnable, no event lost, somebody sleeps in the pollers.
void check_quiescent();
void dump_state();

// How long a runnable fiber may lie in a queue while a processor is idle.
inline int64_t g_conservation_bound_ns = 5000000;

}  // namespace pfiber::sim
