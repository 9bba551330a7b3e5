// sem_t: private ones on the wait queues, process-shared and named ones on the kernel's futex.
#pragma once

#include "shim/abi.h"
#include "shim/deadline.h"

namespace pfiber::shim {

// Results: 0 or an error number.  Any thread, outside the runtime.
// A cancellation point; if not `acts_at_once`, only when it has to wait (sem_clockwait).
int semaphore_wait(Semaphore* semaphore, TimeLimit limit, bool acts_at_once = true);
int semaphore_trywait(Semaphore* semaphore);  // EAGAIN
int semaphore_post(Semaphore* semaphore);     // EOVERFLOW; async-signal-safe

}  // namespace pfiber::shim
