// Guards around one call: another signal mask, no cancellation.
#pragma once

#include <signal.h>

#include "scheduler/runtime.h"

namespace pfiber::shim {

// Installs `mask` (null: leaves everything as it is) for its scope, as ppoll(2) does.  Signals that
// it lets through are delivered at the next leave of the runtime, at the latest by its constructor.
struct MaskGuard {
    MaskGuard(Fiber* fiber, const sigset_t* mask);
    ~MaskGuard() noexcept(false);
    MaskGuard(const MaskGuard&) = delete;
    MaskGuard& operator=(const MaskGuard&) = delete;

    Fiber* fiber;
    uint64_t old = 0;
};

// Requests for cancellation stay pending in its scope, unless the type is asynchronous: then they
// act in any call.
struct NoCancel {
    explicit NoCancel(Fiber* fiber);
    ~NoCancel() noexcept(false);
    NoCancel(const NoCancel&) = delete;
    NoCancel& operator=(const NoCancel&) = delete;

    Fiber* fiber;
    int old = 0;
};

}  // namespace pfiber::shim
