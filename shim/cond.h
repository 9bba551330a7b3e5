// pthread_cond_t and cnd_t on fibers and on threads that are none.
#pragma once

#include "shim/mutex.h"

namespace pfiber::shim {

// Results are pthread error numbers.  Any thread, outside the runtime.  Source: POSIX
// pthread_cond_wait, _signal, _destroy.

// A cancellation point: frames above must be exception-safe.  `limit` null time: for ever.
// ETIMEDOUT; what unlocking or locking the mutex gives.
int cond_wait(Cond* cond, Mutex* mutex, TimeLimit limit);
int cond_signal(Cond* cond);
int cond_broadcast(Cond* cond);
int cond_destroy(Cond* cond);  // waits for waiters in whose wait a handler runs

// The clock of pthread_cond_timedwait, from the attributes at initialisation.
inline clockid_t cond_clock(const Cond* cond) {
    return (cond->waiters.load(std::memory_order_relaxed) & Cond::kMonotonic) != 0 ? CLOCK_MONOTONIC
                                                                                   : CLOCK_REALTIME;
}

}  // namespace pfiber::shim
