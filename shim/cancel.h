// Cancellation on fibers: requests, states, points.
//
// The request is a bit in the thread's cancel word.  A request wakes a parked victim, kicks one
// that blocks in a system call, and for asynchronous type one that runs.  Acting on it is
// pthread_exit with PTHREAD_CANCELED: forced unwinding by libc and libgcc.  Source: POSIX 2.9.5,
// pthreads(7).
#pragma once

#include "scheduler/fiber.h"

namespace pfiber::shim {

// State and type that main set while libc had them: at the start of the runtime, which keeps them
// itself from then on; and back, in the child of a fork, which has no runtime yet.
void cancel_adopt(Fiber* main);
void cancel_give_back(Fiber* survivor);
int thread_cancel(Fiber* victim);                         // 0; any thread, also the victim itself
int set_cancel_state(Fiber* fiber, int state, int* old);  // EINVAL
int set_cancel_type(Fiber* fiber, int type, int* old);    // EINVAL
// Its type is asynchronous: every call is a point.
bool cancels_anywhere(const Fiber* fiber);
// The fiber leaves the runtime with kAttendCancel: acts on it only for asynchronous type.
void attend_cancellation(Fiber* fiber);

}  // namespace pfiber::shim
