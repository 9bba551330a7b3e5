// See mask.h.
#include "shim/mask.h"

#include "scheduler/host/syscall.h"

namespace pfiber::shim {

MaskGuard::MaskGuard(const sigset_t* mask) : is_set(mask != nullptr) {
    if (is_set)
        host::raw_sigprocmask(SIG_SETMASK, reinterpret_cast<const uint64_t*>(mask), &old);
}

MaskGuard::~MaskGuard() {
    if (is_set) host::raw_sigprocmask(SIG_SETMASK, &old, nullptr);
}

NoCancel::NoCancel(Fiber* who) : fiber(who) {}

NoCancel::~NoCancel() {}

}  // namespace pfiber::shim
