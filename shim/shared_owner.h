// While a fiber owns a process-shared object whose owner other processes look at, it is bound to
// its worker and appears as that kernel thread.
//
// The owner word of such an object must hold a tid that is unique on the machine and that the
// kernel can follow: two processes with equal fiber tids would lose mutual exclusion, and a dead
// owner would never be seen.  So the fiber's libc block carries the worker's kernel tid meanwhile,
// and the worker's registered robust list is the fiber's.
#pragma once

#include "scheduler/runtime.h"

namespace pfiber::shim {

// On the fiber itself, outside the runtime; nested.  `ends_with_it`: the kernel thread is to end
// with the fiber if that still owns then, for what only the kernel can pass on.
void shared_owner_begin(Fiber* fiber, bool ends_with_it = false);
void shared_owner_end(Fiber* fiber);

// At the start of the runtime, of what main holds by then.
void shared_owner_adopt(Fiber* main);

// For the time of one call.
class SharedOwner {
  public:
    explicit SharedOwner(Fiber* fiber, bool ends_with_it = false) : fiber_(fiber) {
        shared_owner_begin(fiber, ends_with_it);
    }
    ~SharedOwner() { shared_owner_end(fiber_); }
    SharedOwner(const SharedOwner&) = delete;
    SharedOwner& operator=(const SharedOwner&) = delete;

    // The call succeeded: the fiber stays what it is until a matching shared_owner_end().
    void keep() { shared_owner_begin(fiber_); }

  private:
    Fiber* fiber_;
};

}  // namespace pfiber::shim
