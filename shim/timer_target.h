// Timers that notify one thread (SIGEV_THREAD_ID) and descriptors that one thread owns (F_SETOWN_EX
// with F_OWNER_TID): the kernel never sees a fiber's id, so it is told the process, and what the
// signal carries, the timer's id or the descriptor, leads to the fiber.
#pragma once

#include <signal.h>

#include "scheduler/fiber.h"

namespace pfiber::shim {

// False: no room (1,024 such timers at once).
bool timer_target_add(int timer, const Fiber* fiber);
void timer_target_remove(int timer);  // timer_delete, whosever it was
// The same for descriptors.  A closed one needs no removal: nothing is sent for it any more, and
// the kernel tells that its successor has no owner.
bool descriptor_target_add(int fd, const Fiber* fiber);
void descriptor_target_remove(int fd);
int descriptor_target_tid(int fd);  // 0: none
// Whose signal it is.  In a handler.
enum class TimerSignal { kProcess, kFiber, kDeleted };
TimerSignal timer_target(const siginfo_t* info, Fiber** fiber);
void timer_targets_after_fork();

}  // namespace pfiber::shim
