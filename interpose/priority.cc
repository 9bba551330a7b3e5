// Nice values, which are a thread's own on Linux, and the segment bases of a kernel thread: a fiber
// that sets them is bound to its worker, as in kernel_state.cc.
#include <errno.h>

#include "interpose/hooks.h"
#include "scheduler/runtime.h"

using namespace pfiber;

namespace {

// The first change binds; later ones of the same fiber find it bound.
void bind() {
    Fiber* self = current_fiber();
    if (self != nullptr && self->locked_worker == nullptr) lock_to_worker(self);
}

int finish(long rc) {
    if (rc >= 0) return static_cast<int>(rc);
    errno = static_cast<int>(-rc);
    return -1;
}

// What a thread id means to the kernel; -1: no such thread.
int kernel_tid(pid_t tid) {
    constexpr uint32_t kFirstFiberTid = 1u << 22;
    Fiber* self = current_fiber();
    if (self == nullptr) return tid;
    if (tid == 0 || static_cast<uint32_t>(tid) == self->tid) return worker_tid(self);
    if (static_cast<uint32_t>(tid) < kFirstFiberTid) return tid;
    Fiber* fiber = fiber_with_tid(static_cast<uint32_t>(tid));
    if (fiber == nullptr) return -1;
    return fiber->locked_worker != nullptr ? worker_tid(fiber) : host::raw_getpid();
}

// The kernel's getpriority: 40 to 1 for nice values of -20 to 19.
constexpr long kNiceOffset = 20;

bool is_own(int which, id_t who) {
    const Fiber* self = current_fiber();
    return which == PRIO_PROCESS && self != nullptr && (who == 0 || who == self->tid);
}

// A thread's nice value is its own on Linux.
long set_nice(int which, id_t who, int value) {
    if (is_own(which, who)) {
        bind();
        return host::raw_syscall(SYS_setpriority, PRIO_PROCESS, 0, value);
    }
    const int kernel =
        which == PRIO_PROCESS ? kernel_tid(static_cast<pid_t>(who)) : static_cast<int>(who);
    if (kernel < 0 && which == PRIO_PROCESS) return -ESRCH;
    return host::raw_syscall(SYS_setpriority, which, kernel, value);
}

}  // namespace

extern "C" {

// ---- nice values

int pf_setpriority(__priority_which_t which, id_t who, int value) {
    return finish(set_nice(static_cast<int>(which), who, value));
}

int pf_getpriority(__priority_which_t which, id_t who) {
    const bool is_thread = static_cast<int>(which) == PRIO_PROCESS;
    const int kernel = is_thread ? kernel_tid(static_cast<pid_t>(who)) : static_cast<int>(who);
    if (kernel < 0 && is_thread) return finish(-ESRCH);
    const long rc = host::raw_syscall(SYS_getpriority, static_cast<int>(which), kernel);
    return rc < 0 ? finish(rc) : static_cast<int>(kNiceOffset - rc);
}

int pf_nice(int increment) {
    const int saved = errno;
    const long now = kNiceOffset - host::raw_syscall(SYS_getpriority, PRIO_PROCESS, 0);
    long wanted = now + increment;
    if (wanted < -20) wanted = -20;
    if (wanted > 19) wanted = 19;
    const long rc = set_nice(PRIO_PROCESS, 0, static_cast<int>(wanted));
    errno = saved;
    if (rc < 0) return finish(rc == -EACCES ? -EPERM : rc);  // POSIX names EPERM
    return static_cast<int>(wanted);
}

int pf_sched_rr_get_interval(pid_t tid, timespec* interval) {
    const int kernel = kernel_tid(tid);
    return finish(kernel < 0 ? -ESRCH
                             : host::raw_syscall(SYS_sched_rr_get_interval, kernel, interval));
}

// ---- segment bases

int pf_arch_prctl(int code, unsigned long address) {
    constexpr int kSetGs = 0x1001;
    constexpr int kSetCpuid = 0x1012;
    if (code == kSetGs || code == kSetCpuid) bind();
    return finish(host::raw_syscall(SYS_arch_prctl, code, address));
}

}  // extern "C"
