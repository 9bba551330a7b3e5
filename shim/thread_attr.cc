// See thread_attr.h.
#include "shim/thread_attr.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#include "scheduler/base/options.h"
#include "scheduler/host/syscall.h"
#include "shim/thread.h"

namespace pfiber::shim {

namespace {

// glibc's struct pthread_attr; the flags tell what the program set.
struct AttributeOverlay {
    int priority;
    int policy;
    int flags;
    size_t guard_size;
    void* stack_end;
    size_t stack_size;
    void* extension;
};
// What `extension` points at.
struct ExtensionOverlay {
    void* cpu_mask;
    size_t mask_bytes;
};
static_assert(sizeof(AttributeOverlay) <= sizeof(pthread_attr_t), "glibc's attribute is larger");
constexpr int kFlagDetached = 1;
constexpr int kFlagExplicitScheduling = 2;
constexpr int kFlagStackAddress = 8;

}  // namespace

int read_attributes(const pthread_attr_t* attributes, ThreadAttributes* out) {
    pthread_attr_t defaults;
    const bool is_default = attributes == nullptr;
    pthread_getattr_default_np(&defaults);
    size_t default_size = 0;
    pthread_attr_getstacksize(&defaults, &default_size);
    if (options().stack_kb != 0) default_size = static_cast<size_t>(options().stack_kb) * 1024;
    const pthread_attr_t* source = is_default ? &defaults : attributes;
    AttributeOverlay overlay;
    memcpy(&overlay, source, sizeof overlay);
    out->is_detached = (overlay.flags & kFlagDetached) != 0;
    out->guard_size = overlay.guard_size;
    out->has_policy = (overlay.flags & kFlagExplicitScheduling) != 0;
    out->policy = overlay.policy;
    out->priority = overlay.priority;
    out->stack_size = overlay.stack_size;
    // An attribute that names no size has 0 inside; the getter tells the default for it.
    if (is_default || overlay.stack_size == 0) out->stack_size = default_size;
    if ((overlay.flags & kFlagStackAddress) != 0) {
        out->stack_address = reinterpret_cast<uintptr_t>(overlay.stack_end) - overlay.stack_size;
        out->guard_size = 0;
    }
    if (overlay.extension != nullptr) {
        const auto* extension = static_cast<const ExtensionOverlay*>(overlay.extension);
        constexpr size_t kMost = ThreadAttributes::kMostMaskBytes;
        if (extension->cpu_mask != nullptr)
            out->mask_bytes = extension->mask_bytes < kMost ? extension->mask_bytes : kMost;
        memcpy(out->cpu_mask, extension->cpu_mask, out->mask_bytes);
    }
    sigset_t mask;
    if (pthread_attr_getsigmask_np(source, &mask) == 0) {
        out->has_mask = true;
        memcpy(&out->mask, &mask, sizeof out->mask);
    }
    pthread_attr_destroy(&defaults);
    return out->stack_size < 8192 ? EINVAL : 0;
}

void thread_attributes_of_main(Thread* thread) {
    host::raw_syscall(SYS_prctl, PR_GET_NAME, thread->name);
}

int tell_attributes(const Thread* thread, bool is_detached, pthread_attr_t* out) {
    const int rc = pthread_attr_init(out);
    if (rc != 0) return rc;
    AttributeOverlay overlay;
    memcpy(&overlay, out, sizeof overlay);
    overlay.flags = kFlagStackAddress | (is_detached ? kFlagDetached : 0) |
                    (thread->has_explicit_policy ? kFlagExplicitScheduling : 0);
    overlay.guard_size = thread->guard_size;
    overlay.stack_end = reinterpret_cast<void*>(thread->stack_address + thread->stack_size);
    overlay.stack_size = thread->stack_size;
    overlay.policy = thread->policy;
    overlay.priority = thread->priority;
    memcpy(static_cast<void*>(out), &overlay, sizeof overlay);
    return 0;
}

}  // namespace pfiber::shim
