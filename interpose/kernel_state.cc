// Calls that change what the kernel keeps per kernel thread: namespaces, capabilities, personality,
// file-system ids, nice values, protection keys, I/O ports, segment bases, and what it traces.  The
// fiber is bound to its worker first, for good; the worker ends with it, so that the changed state
// reaches no other fiber (Go: LockOSThread and its taint).
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/fsuid.h>
#include <sys/personality.h>

#include "interpose/hooks.h"
#include "interpose/scheduling.h"
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

template <class... A>
int bound_call(long number, A... arguments) {
    bind();
    return finish(host::raw_syscall(number, arguments...));
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
    const int kernel = which == PRIO_PROCESS ? interpose::kernel_tid(static_cast<pid_t>(who))
                                             : static_cast<int>(who);
    if (kernel < 0 && which == PRIO_PROCESS) return -ESRCH;
    return host::raw_syscall(SYS_setpriority, which, kernel, value);
}

}  // namespace

extern "C" {

int pf_unshare(int flags) { return bound_call(SYS_unshare, flags); }

int pf_setns(int fd, int type) { return bound_call(SYS_setns, fd, type); }

int pf_personality(unsigned long persona) {
    constexpr unsigned long kQuery = 0xffffffff;
    if (persona == kQuery) return static_cast<int>(host::raw_syscall(SYS_personality, persona));
    return bound_call(SYS_personality, persona);
}

int pf_capset(void* header, const void* data) { return bound_call(SYS_capset, header, data); }

// An id that is none only asks for the present one.
int pf_setfsuid(uid_t id) {
    if (id != static_cast<uid_t>(-1)) bind();
    return finish(host::raw_syscall(SYS_setfsuid, id));
}
int pf_setfsgid(gid_t id) {
    if (id != static_cast<gid_t>(-1)) bind();
    return finish(host::raw_syscall(SYS_setfsgid, id));
}

// ---- nice values

int pf_setpriority(__priority_which_t which, id_t who, int value) {
    return finish(set_nice(static_cast<int>(which), who, value));
}

int pf_getpriority(__priority_which_t which, id_t who) {
    const bool is_thread = static_cast<int>(which) == PRIO_PROCESS;
    const int kernel =
        is_thread ? interpose::kernel_tid(static_cast<pid_t>(who)) : static_cast<int>(who);
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
    const int kernel = interpose::kernel_tid(tid);
    return finish(kernel < 0 ? -ESRCH
                             : host::raw_syscall(SYS_sched_rr_get_interval, kernel, interval));
}

// ---- registers and tables of a kernel thread

int pf_pkey_alloc(unsigned flags, unsigned rights) {
    return bound_call(SYS_pkey_alloc, flags, rights);
}
int pf_pkey_set(int key, unsigned rights) {
    bind();
    return real(pkey_set)(key, rights);
}

int pf_ioperm(unsigned long first, unsigned long count, int on) {
    return bound_call(SYS_ioperm, first, count, on);
}
int pf_iopl(int level) { return bound_call(SYS_iopl, level); }

int pf_modify_ldt(int function, void* data, unsigned long size) {
    constexpr int kRead = 0;
    constexpr int kReadDefault = 2;
    // Written entries are the process's; a segment register that names one is the kernel thread's.
    if (function != kRead && function != kReadDefault) bind();
    return finish(host::raw_syscall(SYS_modify_ldt, function, data, size));
}

int pf_arch_prctl(int code, unsigned long address) {
    constexpr int kSetGs = 0x1001;
    constexpr int kSetCpuid = 0x1012;
    if (code == kSetGs || code == kSetCpuid) bind();
    return finish(host::raw_syscall(SYS_arch_prctl, code, address));
}

// ---- tracing: the tracer is a kernel thread, and only it may ask

long pf_ptrace(__ptrace_request request, ...) {
    va_list list;
    va_start(list, request);
    const auto pid = va_arg(list, pid_t);
    void* const address = va_arg(list, void*);
    void* data = va_arg(list, void*);
    va_end(list);
    bind();
    // The peeking requests store the word they find; libc returns it.
    long word = 0;
    const bool peeks = request >= PTRACE_PEEKTEXT && request <= PTRACE_PEEKUSER;
    if (peeks) data = &word;
    const long rc = host::raw_syscall(SYS_ptrace, request, pid, address, data);
    if (rc < 0) return finish(rc);
    if (!peeks) return rc;
    errno = 0;  // as libc: a word of -1 is told from an error by it
    return word;
}

}  // extern "C"
