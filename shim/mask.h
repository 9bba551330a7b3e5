// Guards around one call: another signal mask, no cancellation.
#pragma once

#include <signal.h>

#include "scheduler/runtime.h"

namespace pfiber::shim {

// Installs `mask` (null: leaves everything as it is) for its scope, as ppoll(2) does.  Signals that
// it lets through are delivered at the next leave of the runtime.
struct MaskGuard {
    explicit MaskGuard(const sigset_t* mask);
    ~MaskGuard();
    MaskGuard(const MaskGuard&) = delete;
    MaskGuard& operator=(const MaskGuard&) = delete;

    bool is_set;
    uint64_t old = 0;
};

// Requests for cancellation stay pending in its scope.
struct NoCancel {
    explicit NoCancel(Fiber* fiber);
    ~NoCancel();
    NoCancel(const NoCancel&) = delete;
    NoCancel& operator=(const NoCancel&) = delete;

    Fiber* fiber;
    int old = 0;
};

}  // namespace pfiber::shim
