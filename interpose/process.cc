// fork, vfork, spawn, exec.
//
// fork: the child has the calling fiber on a copy of its stack; it runs natively until its next
// pthread_create starts the runtime anew.  Done inside libc's own fork, at _Fork, before any atfork
// handler runs.
// spawn and its kin: the child borrows our memory and runs hooks on the parent's identity, so the
// fiber is nobody (current_fiber() null) meanwhile: every hook is a bare system call.  The
// processor is handed off first.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>

#include "interpose/hooks.h"
#include "interpose/start.h"
#include "scheduler/base/counters.h"
#include "scheduler/host/identity.h"
#include "scheduler/host/signal.h"
#include "scheduler/processor.h"
#include "scheduler/runtime.h"
#include "shim/cancel.h"
#include "shim/signal.h"
#include "shim/thread.h"

using namespace pfiber;
using namespace pfiber::shim;

namespace {

long raw_fork() {
    const uintptr_t tp = host::thread_pointer();
    // As libc's: the kernel writes the child's id into its thread block.
    return host::raw_syscall(SYS_clone, CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
                             nullptr, nullptr, host::tid_field(tp), 0);
}

// In the child: robust mutexes of the parent are not ours.
void reset_robust_list() { host::reset_robust_list(host::thread_pointer()); }

// The fiber is nobody while libc runs a child in our memory.
class ForeignMode {
  public:
    ForeignMode() : fiber_(current_fiber()) {
        if (fiber_ == nullptr) return;
        enter_blocking_call(fiber_);
        mask_ = install_exact_mask(thread_of(fiber_)->mask);
        t_current = nullptr;
    }
    ~ForeignMode() {
        if (fiber_ == nullptr) return;
        t_current = fiber_;
        install_exact_mask(mask_);
        exit_call(fiber_);
    }
    ForeignMode(const ForeignMode&) = delete;
    ForeignMode& operator=(const ForeignMode&) = delete;

  private:
    Fiber* fiber_;
    uint64_t mask_ = 0;
};

// What the child of a clone without shared memory runs: a fork child first, then the program's.
struct ClonedChild {
    Fiber* fiber;
    int (*function)(void*);
    void* argument;
};
int run_cloned_child(void* data) {
    const ClonedChild child = *static_cast<ClonedChild*>(data);
    reset_robust_list();
    interpose::restart_after_fork();
    child.fiber->depth = 0;
    return child.function(child.argument);
}

}  // namespace

extern "C" {

// With shared memory and a waiting parent it is a spawn, with memory of its own a fork.  A child
// that shares memory and runs beside its parent is libc's business: it should bring its own TLS.
int pf_clone(int (*function)(void*), void* stack, int flags, void* argument, ...) {
    va_list list;
    va_start(list, argument);
    auto* parent_tid = va_arg(list, pid_t*);
    void* tls = va_arg(list, void*);
    auto* child_tid = va_arg(list, pid_t*);
    va_end(list);
    Fiber* fiber = current_fiber();
    if (fiber != nullptr && (flags & CLONE_VM) != 0 && (flags & CLONE_VFORK) != 0) {
        ForeignMode foreign;
        return real(clone)(function, stack, flags, argument, parent_tid, tls, child_tid);
    }
    if (fiber == nullptr || function == nullptr || stack == nullptr || (flags & CLONE_VM) != 0)
        return real(clone)(function, stack, flags, argument, parent_tid, tls, child_tid);
    ClonedChild child{fiber, function, argument};
    const uint64_t all = ~uint64_t{0};
    uint64_t mask = 0;
    RuntimeSection::enter(fiber);
    host::raw_sigprocmask(SIG_SETMASK, &all, &mask);
    const int pid = real(clone)(run_cloned_child, stack, flags, &child, parent_tid, tls, child_tid);
    host::raw_sigprocmask(SIG_SETMASK, &mask, nullptr);
    if (pid > 0) {
        COUNT(forks);
        descriptors_all_shared();
    }
    RuntimeSection::leave(fiber);
    return pid;
}

// Redirected: libc's fork calls it after the prepare handlers and before the child handlers.
pid_t pf__Fork() {
    Fiber* fiber = current_fiber();
    const uint64_t all = ~uint64_t{0};
    uint64_t mask = 0;
    if (fiber != nullptr) RuntimeSection::enter(fiber);
    host::raw_sigprocmask(SIG_SETMASK, &all, &mask);
    const long pid = raw_fork();
    if (pid == 0) {
        reset_robust_list();
        if (fiber != nullptr) {
            interpose::restart_after_fork();  // installs the thread's own mask
            fiber->depth = 0;
            return 0;
        }
    }
    host::raw_sigprocmask(SIG_SETMASK, &mask, nullptr);
    if (fiber != nullptr) {
        COUNT(forks);
        descriptors_all_shared();
        RuntimeSection::leave(fiber);
    }
    if (pid < 0) {
        errno = static_cast<int>(-pid);
        return -1;
    }
    return static_cast<pid_t>(pid);
}

int pf_posix_spawn(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
                   const posix_spawnattr_t* attributes, char* const argv[], char* const envp[]) {
    ForeignMode foreign;
    return real(posix_spawn)(pid, path, actions, attributes, argv, envp);
}

int pf_posix_spawnp(pid_t* pid, const char* file, const posix_spawn_file_actions_t* actions,
                    const posix_spawnattr_t* attributes, char* const argv[], char* const envp[]) {
    ForeignMode foreign;
    return real(posix_spawnp)(pid, file, actions, attributes, argv, envp);
}

FILE* pf_popen(const char* command, const char* mode) {
    ForeignMode foreign;
    return real(popen)(command, mode);
}

FILE* pf__IO_proc_open(FILE* file, const char* command, const char* mode) {
    using Open = FILE*(FILE*, const char*, const char*);
    ForeignMode foreign;
    return reinterpret_cast<Open*>(interpose::real_function(interpose::Row::k__IO_proc_open))(
        file, command, mode);
}

// Command substitution spawns a shell inside libc.
int pf_wordexp(const char* words, wordexp_t* result, int flags) {
    if (Fiber* fiber = current_fiber()) cancellation_point(fiber);
    ForeignMode foreign;
    return real(wordexp)(words, result, flags);
}

int pf_execve(const char* path, char* const argv[], char* const envp[]) {
    Fiber* fiber = current_fiber();
    uint64_t old = 0;
    // The new program inherits the calling thread's mask, and what is pending.
    if (fiber != nullptr) kernel_keeps_pending(~uint64_t{0});
    if (fiber != nullptr) old = install_exact_mask(thread_of(fiber)->mask);
    const long rc = host::raw_syscall(SYS_execve, path, argv, envp);
    if (fiber != nullptr) install_exact_mask(old);
    errno = static_cast<int>(-rc);
    return -1;
}

}  // extern "C"

extern "C" __attribute__((visibility("hidden"))) int pfiber_set_errno(int error) {
    errno = error;
    return -1;
}
