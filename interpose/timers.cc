// timer_create and timer_delete: thread-directed notification is translated (shim/timer_target.h),
// a timer on the calling thread's CPU clock binds the fiber to its worker, whose clock it is.
#include <errno.h>

#include "interpose/hooks.h"
#include "scheduler/runtime.h"
#include "shim/signal.h"
#include "shim/thread.h"
#include "shim/timer_target.h"

using namespace pfiber;
using namespace pfiber::shim;

extern "C" {

int pf_timer_create(clockid_t clock, sigevent* event, timer_t* timer) {
    Fiber* self = current_fiber();
    if (self == nullptr) return real(timer_create)(clock, event, timer);
    if (Fiber* fiber = fiber_of_clock(clock)) {
        if (fiber == self)
            clock = CLOCK_THREAD_CPUTIME_ID;
        else if (thread_of(fiber)->has_kernel_state)
            clock = static_cast<clockid_t>((~static_cast<uint32_t>(worker_tid(fiber)) << 3) | 6);
    }
    if (clock == CLOCK_THREAD_CPUTIME_ID) lock_to_worker(self);
    if (event == nullptr || event->sigev_notify != SIGEV_THREAD_ID)
        return real(timer_create)(clock, event, timer);
    Fiber* target = fiber_with_tid(static_cast<uint32_t>(event->_sigev_un._tid));
    if (target == nullptr) {
        errno = EINVAL;
        return -1;
    }
    sigevent translated = *event;
    translated.sigev_notify = SIGEV_SIGNAL;
    if (real(timer_create)(clock, &translated, timer) != 0) return -1;
    if (timer_target_add(static_cast<int>(reinterpret_cast<intptr_t>(*timer)), target)) {
        watch_signal(translated.sigev_signo);
        return 0;
    }
    real(timer_delete)(*timer);
    errno = EAGAIN;
    return -1;
}

int pf_timer_delete(timer_t timer) {
    timer_target_remove(static_cast<int>(reinterpret_cast<intptr_t>(timer)));
    return real(timer_delete)(timer);
}

}  // extern "C"
