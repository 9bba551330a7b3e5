// libc's own synchronisation functions, for objects that other processes share.
//
// Looked up behind this object at first use; a call on a fiber stands in a blocking region, because
// the waits are the kernel's.  Never under a runtime lock.
#pragma once

#include <pthread.h>

#include "scheduler/host/libc.h"
#include "scheduler/runtime.h"
#include "shim/interrupt.h"

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
    X(pthread_barrier_destroy)    \
    X(pthread_testcancel)         \
    X(pthread_getschedparam)

struct LibcSync {
#define X(name) decltype(&::name) name;
    PFIBER_LIBC_SYNC(X)
#undef X
};

const LibcSync& libc_sync();  // any thread, outside the runtime

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

// Around a function of libc that waits in the kernel for as long as somebody else likes: directed
// signals run their handlers meanwhile, as on a kernel thread.  On a fiber or not; outside the
// runtime.
class LibcWait {
  public:
    // `cancellable`, if not null, are the two words on which libc's wait may be cancelled: a
    // request is acted on while the kernel waits on one of them, by unwinding libc's own frames.
    explicit LibcWait(const void* cancellable = nullptr);
    // libc waits on a word in one of its own frames, which lie below the caller's (aio_suspend): a
    // handler ends that wait as the kernel would, and a request is acted on there only, so not at
    // all when there is nothing to wait for.
    enum class Own : uint8_t { kNo, kWaits, kWaitsCancellably };
    LibcWait(Own own, bool is_restartable);
    ~LibcWait();
    LibcWait(const LibcWait&) = delete;
    LibcWait& operator=(const LibcWait&) = delete;

  private:
    friend void attend_libc_wait(Fiber* fiber, void* context);
    void begin();
    void end();
    bool may_be_cancelled() const;
    bool waits(const void* context) const;
    bool waits_cancellably(const void* context) const;
    void answer_handlers(InterruptMark before, void* context) const;
    void look_again_later();

    Fiber* fiber_;
    LibcWait* outer_ = nullptr;
    const void* cancellable_ = nullptr;
    Own own_ = Own::kNo;
    bool is_restartable_ = true;
    int timer_ = -1;
    int64_t delay_ns_ = 1000000;
};

// RuntimeCallbacks::attend_in_call: a kick found a fiber inside such a call.
void attend_libc_wait(Fiber* fiber, void* context);

}  // namespace pfiber::shim
