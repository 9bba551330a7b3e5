// pthread_rwlock_t of every kind, on fibers and on threads that are none.
#pragma once

#include "shim/abi.h"
#include "shim/deadline.h"

namespace pfiber::shim {

// Results are pthread error numbers.  Any thread, outside the runtime; no cancellation points.
// Source: POSIX pthread_rwlock_rdlock, _wrlock, _unlock; preference as
// pthread_rwlockattr_setkind_np(3).
int rwlock_read(Rwlock* lock, TimeLimit limit);
int rwlock_write(Rwlock* lock, TimeLimit limit);
int rwlock_try_read(Rwlock* lock);
int rwlock_try_write(Rwlock* lock);
int rwlock_unlock(Rwlock* lock);

}  // namespace pfiber::shim
