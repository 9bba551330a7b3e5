// The functions of pfiber.h: exported beside libc's names, for programs that want to talk to us.
// They are no hooks; no program needs them.
#define PFIBER_DECLARATIONS_ONLY
#pragma GCC visibility push(default)
#include "interpose/pfiber.h"
#pragma GCC visibility pop

#include <errno.h>
#include <limits.h>

#include "interpose/hooks.h"
#include "interpose/start.h"
#include "scheduler/host/cpu_count.h"
#include "scheduler/runtime.h"
#include "scheduler/world.h"
#include "shim/thread.h"

using namespace pfiber;
using namespace pfiber::shim;

namespace {

// The main thread before the start: it is bound when it becomes a fiber.
int early_locks = 0;

bool is_before_start() {
    return !g_runtime_started && interpose::may_have_fibers() &&
           host::raw_gettid() == host::raw_getpid();
}

// The calling fiber in program code.
Fiber* plain_fiber() {
    Fiber* self = current_fiber();
    return self == nullptr || self->depth != 0 ? nullptr : self;
}

}  // namespace

namespace pfiber::interpose {

void adopt_early_locks(Fiber* main) {
    thread_of(main)->kernel_thread_locks = early_locks;
    if (early_locks > 0) lock_to_worker(main);
    early_locks = 0;
}

}  // namespace pfiber::interpose

extern "C" {

int pfiber_active() { return interpose::may_have_fibers() ? 1 : 0; }

int pfiber_version() { return PFIBER_API_VERSION; }

void pfiber_gosched() { pf_sched_yield(); }

void pfiber_goexit() { pf_pthread_exit(nullptr); }

long pfiber_numgoroutine() {
    if (!interpose::may_have_fibers()) return 0;
    return g_runtime_started ? static_cast<long>(live_fibers()) : 1;
}

int pfiber_gomaxprocs(int n) {
    if (!interpose::may_have_fibers()) return host::affinity_cpu_count();
    const int saved_errno = errno;
    const bool may_set = current_fiber() == nullptr || plain_fiber() != nullptr;
    const int former = may_set ? set_processor_count(n) : processor_count();
    errno = saved_errno;
    return former;
}

int pfiber_setdefaultgomaxprocs() {
    if (!interpose::may_have_fibers()) return host::affinity_cpu_count();
    const int saved_errno = errno;
    const bool may_set = current_fiber() == nullptr || plain_fiber() != nullptr;
    const int former = may_set ? set_default_processor_count() : processor_count();
    errno = saved_errno;
    return former;
}

int pfiber_lockosthread() {
    Fiber* self = plain_fiber();
    if (self == nullptr && !is_before_start()) return 0;
    int32_t& locks = self == nullptr ? early_locks : thread_of(self)->kernel_thread_locks;
    if (locks == INT_MAX) return EAGAIN;
    if (++locks == 1 && self != nullptr) lock_to_own_worker(self);
    return 0;
}

// Counted apart from what the runtime itself binds for (shared mutexes, namespaces): one unlock too
// many must not undo that.
void pfiber_unlockosthread() {
    Fiber* self = plain_fiber();
    if (self == nullptr && !is_before_start()) return;
    int32_t& locks = self == nullptr ? early_locks : thread_of(self)->kernel_thread_locks;
    if (locks == 0) return;
    if (--locks == 0 && self != nullptr) unlock_from_worker(self);
}

void pfiber_syscall_block_begin() {
    Fiber* self = plain_fiber();
    if (self == nullptr || self->in_call) return;
    const int saved_errno = errno;
    enter_blocking_call(self);
    errno = saved_errno;
}

void pfiber_syscall_block_end() {
    Fiber* self = plain_fiber();
    if (self == nullptr || !self->in_call) return;
    const int saved_errno = errno;
    exit_call(self);
    errno = saved_errno;
}

}  // extern "C"
