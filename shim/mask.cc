// See mask.h.
#include "shim/mask.h"

#include <pthread.h>

#include "shim/cancel.h"
#include "shim/interrupt.h"
#include "shim/signal.h"
#include "shim/thread.h"

namespace pfiber::shim {

MaskGuard::MaskGuard(Fiber* who, const sigset_t* mask) : fiber(mask == nullptr ? nullptr : who) {
    if (fiber == nullptr) return;
    Thread* thread = thread_of(fiber);
    old = thread->mask;
    // As sigsuspend: the first handler goes back to the mask from before the call.
    thread->suspend_restore = old;
    thread->has_suspend_restore = true;
    set_thread_mask(fiber, mask_of(mask));
}

MaskGuard::~MaskGuard() noexcept(false) {
    if (fiber == nullptr) return;
    thread_of(fiber)->has_suspend_restore = false;
    set_thread_mask(fiber, old);
}

NoCancel::NoCancel(Fiber* who) : fiber(cancels_anywhere(who) ? nullptr : who) {
    if (fiber != nullptr) set_cancel_state(fiber, PTHREAD_CANCEL_DISABLE, &old);
}

NoCancel::~NoCancel() noexcept(false) {
    if (fiber != nullptr) set_cancel_state(fiber, old, nullptr);
}

}  // namespace pfiber::shim
