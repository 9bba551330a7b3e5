// libc's own synchronisation functions, for objects that other processes share.
//
// Looked up behind this object at first use; a call on a fiber stands in a blocking region, because
// the waits are the kernel's.  Never under a runtime lock.
#pragma once

#include <pthread.h>

#include "scheduler/host/libc.h"
#include "scheduler/runtime.h"

namespace pfiber::shim {

#define PFIBER_LIBC_SYNC(X)       \
    X(pthread_mutex_lock)         \
    X(pthread_mutex_trylock)      \
    X(pthread_mutex_clocklock)    \
    X(pthread_mutex_unlock)       \
    X(pthread_cond_wait)          \
    X(pthread_cond_clockwait)     \
    X(pthread_cond_timedwait)     \
    X(pthread_cond_signal)        \
    X(pthread_cond_broadcast)     \
    X(pthread_cond_destroy)       \
    X(pthread_rwlock_rdlock)      \
    X(pthread_rwlock_wrlock)      \
    X(pthread_rwlock_tryrdlock)   \
    X(pthread_rwlock_trywrlock)   \
    X(pthread_rwlock_clockrdlock) \
    X(pthread_rwlock_clockwrlock) \
    X(pthread_rwlock_unlock)      \
    X(pthread_barrier_wait)       \
    X(pthread_testcancel)

struct LibcSync {
#define X(name) decltype(&::name) name;
    PFIBER_LIBC_SYNC(X)
#undef X
};

const LibcSync& libc_sync();

// Around a call that waits in the kernel, on a fiber or not.
class BlockingRegion {
  public:
    BlockingRegion() : fiber_(current_fiber()) {
        if (fiber_ != nullptr) enter_blocking_call(fiber_);
    }
    ~BlockingRegion() {
        if (fiber_ != nullptr) exit_call(fiber_);
    }
    BlockingRegion(const BlockingRegion&) = delete;
    BlockingRegion& operator=(const BlockingRegion&) = delete;

  private:
    Fiber* fiber_;
};

}  // namespace pfiber::shim
