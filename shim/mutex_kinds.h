// What the files of the mutex share: robust and process-shared kinds.
#pragma once

#include "shim/mutex.h"

namespace pfiber::shim {

// Whether the caller's priority allows to take a mutex with priority protection: 0 or EINVAL.
int mutex_check_ceiling(const Mutex* mutex);

// Private robust mutexes (mutex_robust.cc), served in user space.
int robust_lock(Mutex* mutex, int kind, TimeLimit limit, bool keep_users);
int robust_trylock(Mutex* mutex, int kind);
int robust_unlock(Mutex* mutex, bool keep_users);

// Process-shared ones (mutex_shared.cc), on a fiber: libc's code and the kernel's futex.
int shared_lock(Mutex* mutex, TimeLimit limit);
int shared_trylock(Mutex* mutex);
int shared_unlock(Mutex* mutex);

}  // namespace pfiber::shim
