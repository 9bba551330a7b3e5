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
    old = thread_of(fiber)->mask;
    set_thread_mask(fiber, mask_of(mask));
}

MaskGuard::~MaskGuard() noexcept(false) {
    if (fiber != nullptr) set_thread_mask(fiber, old);
}

NoCancel::NoCancel(Fiber* who) : fiber(who) {
    set_cancel_state(fiber, PTHREAD_CANCEL_DISABLE, &old);
}

NoCancel::~NoCancel() noexcept(false) { set_cancel_state(fiber, old, nullptr); }

}  // namespace pfiber::shim
