// What the files of the mutex share: robust and process-shared kinds.
#pragma once

#include "shim/mutex.h"

namespace pfiber::shim {

// Priority protection (mutex_ceiling.cc).  Before the mutex is taken: raises the caller to its
// ceiling; 0, EINVAL when its own priority is higher, or the kernel's error number.  *entered is
// what mutex_leave_ceiling() is to be given when the mutex is given back or was not taken.
// mutex_check_ceiling() only looks, for process-shared ones, where libc itself raises.
int mutex_check_ceiling(const Mutex* mutex);
int mutex_enter_ceiling(const Mutex* mutex, int* entered);
void mutex_leave_ceiling(int ceiling);
// At the start of the runtime, of what main holds by then.
void mutex_adopt_ceilings(Fiber* main);
inline int mutex_ceiling(const Mutex* mutex) {
    return static_cast<int>(mutex->word.load(std::memory_order_relaxed) >> Mutex::kCeilingShift);
}

// Private robust mutexes (mutex_robust.cc), served in user space.  `keep_users`: around the wait of
// a condition variable.
int robust_lock(Mutex* mutex, int kind, TimeLimit limit, bool keep_users);
int robust_trylock(Mutex* mutex, int kind);
int robust_unlock(Mutex* mutex, bool keep_users);

// Process-shared ones (mutex_shared.cc): libc's code and the kernel's futex.
int shared_lock(Mutex* mutex, TimeLimit limit);
int shared_trylock(Mutex* mutex);
int shared_unlock(Mutex* mutex);

}  // namespace pfiber::shim
