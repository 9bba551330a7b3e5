// Timers that notify one thread (SIGEV_THREAD_ID): the kernel never sees a fiber's id, so the timer
// is made for the process and the signal's timer id leads to the fiber.
#pragma once

#include <signal.h>

#include "scheduler/fiber.h"

namespace pfiber::shim {

// False: no room (1,024 such timers at once).
bool timer_target_add(int timer, const Fiber* fiber);
void timer_target_remove(int timer);  // timer_delete, whosever it was
// Whose signal it is.  In a handler.
enum class TimerSignal { kProcess, kFiber, kDeleted };
TimerSignal timer_target(const siginfo_t* info, Fiber** fiber);
void timer_targets_after_fork();

}  // namespace pfiber::shim
