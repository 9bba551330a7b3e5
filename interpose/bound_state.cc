// Registers and tables of a kernel thread (protection keys, I/O ports, local descriptors), and what
// it traces.  The fiber is bound to its worker first, for good, as in kernel_state.cc.
#include <errno.h>
#include <stdarg.h>

#include "interpose/hooks.h"
#include "scheduler/runtime.h"
#include "shim/credentials.h"
#include "shim/kernel_state.h"

using namespace pfiber;

namespace {

int finish(long rc) {
    if (rc >= 0) return static_cast<int>(rc);
    errno = static_cast<int>(-rc);
    return -1;
}

template <class... A>
int bound_call(long number, A... arguments) {
    return finish(shim::change_own_state(current_fiber(), number, arguments...));
}

}  // namespace

extern "C" {

// ---- registers and tables of a kernel thread

int pf_pkey_alloc(unsigned flags, unsigned rights) {
    return bound_call(SYS_pkey_alloc, flags, rights);
}
int pf_pkey_set(int key, unsigned rights) {
    shim::KernelStateChange change(current_fiber());
    return static_cast<int>(change.done(real(pkey_set)(key, rights)));
}

int pf_ioperm(unsigned long first, unsigned long count, int on) {
    return bound_call(SYS_ioperm, first, count, on);
}
int pf_iopl(int level) { return bound_call(SYS_iopl, level); }

int pf_modify_ldt(int function, void* data, unsigned long size) {
    constexpr int kRead = 0;
    constexpr int kReadDefault = 2;
    // Written entries are the process's; a segment register that names one is the kernel thread's.
    if (function == kRead || function == kReadDefault)
        return finish(host::raw_syscall(SYS_modify_ldt, function, data, size));
    return bound_call(SYS_modify_ldt, function, data, size);
}

// ---- tracing: the tracer is a kernel thread, and only it may ask

long pf_ptrace(__ptrace_request request, ...) {
    va_list list;
    va_start(list, request);
    const auto pid = va_arg(list, pid_t);
    void* const address = va_arg(list, void*);
    void* data = va_arg(list, void*);
    va_end(list);
    // The peeking requests store the word they find; libc returns it.
    long word = 0;
    const bool peeks = request >= PTRACE_PEEKTEXT && request <= PTRACE_PEEKUSER;
    if (peeks) data = &word;
    Fiber* fiber = current_fiber();
    long rc = shim::change_own_state(fiber, SYS_ptrace, request, pid, address, data);
    // A child that asked to be traced is its parent's, the kernel thread that forked.
    if (rc == -ESRCH && fiber != nullptr)
        rc = shim::call_as_parent(SYS_ptrace, request, pid, reinterpret_cast<long>(address),
                                  reinterpret_cast<long>(data));
    if (rc < 0) return finish(rc);
    if (!peeks) return rc;
    errno = 0;  // as libc: a word of -1 is told from an error by it
    return word;
}

}  // extern "C"
