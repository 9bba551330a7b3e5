// fork, vfork, spawn, exec.
//
// fork: the child has the calling fiber on a copy of its stack; it runs natively until its next
// pthread_create starts the runtime anew.  Done inside libc's own fork, at _Fork, before any atfork
// handler runs.
// spawn and its kin: the child borrows our memory and runs hooks on the parent's identity, so the
// fiber is nobody (current_fiber() null) meanwhile: every hook is a bare system call.  The
// processor is handed off first.
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>

#include "interpose/hooks.h"
#include "interpose/raw_calls.h"
#include "interpose/regions.h"
#include "interpose/start.h"
#include "scheduler/base/counters.h"
#include "scheduler/host/identity.h"
#include "scheduler/host/signal.h"
#include "scheduler/host/touch.h"
#include "scheduler/lock.h"
#include "scheduler/processor.h"
#include "scheduler/runtime.h"
#include "shim/cancel.h"
#include "shim/signal.h"
#include "shim/thread.h"

using namespace pfiber;
using namespace pfiber::shim;

namespace {

// In the child: robust mutexes of the parent are not ours.
void reset_robust_list() { host::reset_robust_list(host::thread_pointer()); }

// call() forks and answers as the kernel does; the child has the calling fiber, natively.
template <class Call>
long forked(Fiber* fiber, Call&& call) {
    const uint64_t all = ~uint64_t{0};
    uint64_t mask = 0;
    if (fiber != nullptr) {
        RuntimeSection::enter(fiber);
        keep_worker(fiber);
    }
    host::raw_sigprocmask(SIG_SETMASK, &all, &mask);
    const long pid = call();
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
        if (pid > 0) {
            COUNT(forks);
            descriptors_all_shared();
        }
        RuntimeSection::leave(fiber);
    }
    return pid;
}

// The fiber is nobody while a child is made that shares our memory, with the thread's own mask in
// the kernel.  No signal comes between the two: it would find a fiber and another mask than its
// worker's, or leave that one's.
class Nobody {
  public:
    explicit Nobody(Fiber* fiber) : fiber_(fiber) {
        if (fiber_ == nullptr) return;
        install_exact_mask(~uint64_t{0});
        t_current = nullptr;
        install_exact_mask(thread_of(fiber_)->mask);
    }
    ~Nobody() {
        if (fiber_ == nullptr) return;
        install_exact_mask(~uint64_t{0});
        t_current = fiber_;
        reinstall_worker_mask(fiber_->worker);
    }
    Nobody(const Nobody&) = delete;
    Nobody& operator=(const Nobody&) = delete;

  private:
    Fiber* fiber_;
};

// The same while libc runs the child and waits for it to execute or end.
class ForeignMode {
  public:
    ForeignMode() : region_(current_fiber()), nobody_(region_.fiber) {}

  private:
    struct Region {
        explicit Region(Fiber* who) : fiber(who) {
            if (fiber == nullptr) return;
            enter_blocking_call(fiber);
            keep_worker(fiber);
        }
        ~Region() noexcept(false) {
            if (fiber != nullptr) exit_call(fiber);
        }
        Region(const Region&) = delete;
        Region& operator=(const Region&) = delete;
        Fiber* fiber;
    };
    Region region_;
    Nobody nobody_;
};

// Tests: a signal of ours comes at the moment at which the thread's own mask is installed.
void kick_when_open(Fiber* fiber) {
    install_exact_mask(~uint64_t{0});
    kick(fiber);
}

// ---- clone

struct ChildStart {
    int (*body)(void*);
    void* argument;
};

int start_copied_child(void* start) {
    const ChildStart child = *static_cast<ChildStart*>(start);
    Fiber* fiber = current_fiber();
    interpose::restart_after_fork();
    fiber->depth = 0;
    const int code = child.body(child.argument);
    // libc would end the kernel thread only; the child may have started workers.
    host::raw_syscall(SYS_exit_group, code);
    return code;
}

// A child that runs beside us in our memory would share the calling fiber's identity, so it gets
// that of a fiber that never runs; what libc keeps per thread is right in it.  The words stand at
// the lower end of that fiber's stack.
struct Lent {
    ChildStart child;
    uintptr_t tp;
    int is_running;  // the kernel clears it at the child's end
};

Lock lent_lock;
Fiber* lent_first = nullptr;

Lent* lent_of(const Fiber* block) { return reinterpret_cast<Lent*>(block->stack_low); }

// Takes the first block whose child has ended off the list; null: none.
Fiber* take_returned() {
    OptionalSection section;
    LockGuard guard(lent_lock);
    for (Fiber** at = &lent_first; *at != nullptr; at = &(*at)->queue_next) {
        Fiber* block = *at;
        if (__atomic_load_n(&lent_of(block)->is_running, __ATOMIC_ACQUIRE) != 0) continue;
        *at = block->queue_next;
        block->queue_next = nullptr;
        return block;
    }
    return nullptr;
}

int start_child_beside(void* lent) {
    const Lent& start = *static_cast<Lent*>(lent);
    host::set_tid_field(start.tp, static_cast<uint32_t>(host::raw_gettid()));
    host::identity_enter();
    return start.child.body(start.child.argument);
}

int clone_beside(Fiber* fiber, ChildStart child, void* stack, int flags, pid_t* parent_tid,
                 pid_t* child_tid) {
    while (Fiber* block = take_returned()) fiber_recycle(block);
    constexpr size_t kStack = 16 * 1024;
    Fiber* block = fiber_create(kStack, 0, 0);
    if (block == nullptr) {
        errno = ENOMEM;
        return -1;
    }
    *host::tls_at(block->tp, &t_current) = nullptr;
    *host::tls_at(block->tp, &t_owner) = nullptr;
    Lent* lent = lent_of(block);
    *lent = {child, block->tp, 1};
    if ((flags & (CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID)) == 0) {
        flags |= CLONE_CHILD_CLEARTID;
        child_tid = &lent->is_running;
    }
    {
        RuntimeSection section(fiber);
        keep_worker(fiber);
    }
    int pid;
    {
        Nobody nobody(fiber);
        pid = real(clone)(start_child_beside, stack, flags | CLONE_SETTLS, lent, parent_tid,
                          reinterpret_cast<void*>(block->tp), child_tid);
    }
    if (pid < 0) {
        fiber_recycle(block);
        return pid;
    }
    OptionalSection section;
    if ((flags & CLONE_FILES) != 0) descriptors_all_shared();
    LockGuard guard(lent_lock);
    block->queue_next = lent_first;
    lent_first = block;
    return pid;
}

}  // namespace

namespace pfiber::interpose {

long raw_fork_call(Fiber* fiber, long number, const long* a) {
    bool is_copy = number == SYS_fork;
    if (number == SYS_clone) is_copy = (a[0] & (CLONE_VM | CLONE_SETTLS)) == 0 && a[1] == 0;
    if (number == SYS_clone3 && a[1] >= CLONE_ARGS_SIZE_VER0) {
        const auto* wanted = reinterpret_cast<const clone_args*>(a[0]);
        is_copy = host::can_read(wanted, CLONE_ARGS_SIZE_VER0) &&
                  (wanted->flags & (CLONE_VM | CLONE_SETTLS)) == 0 && wanted->stack == 0;
    }
    const auto call = [&] {
        return host::raw_syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    };
    return fiber != nullptr && is_copy ? forked(fiber, call) : call();
}

// The new program inherits the calling thread's mask, and what is pending.
long execute_call(long number, const long* arguments) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) {
        const long* a = arguments;
        return host::raw_syscall(number, a[0], a[1], a[2], a[3], a[4]);
    }
    for (bool is_first = true;; is_first = false) {
        kernel_keeps_pending(~uint64_t{0});
        check_attention(fiber);
        enter_call(fiber);
        if (is_first && __builtin_expect(Platform::chaos_seed != 0, 0)) kick_when_open(fiber);
        const long rc = host::pfiber_execute(&thread_of(fiber)->mask, number, arguments);
        reinstall_worker_mask(fiber->worker);
        exit_call(fiber);
        if (rc != -EINTR) return rc;
    }
}

}  // namespace pfiber::interpose

extern "C" {

// Redirected: libc's fork calls it after the prepare handlers and before the child handlers.
pid_t pf__Fork() {
    // Before the start nothing of libc's is redirected, nor its thread block's layout known.
    if (!host::identity_offsets_known()) return real(_Fork)();
    const uintptr_t tp = host::thread_pointer();
    const long pid = forked(current_fiber(), [tp] {
        // As libc's: the kernel writes the child's id into its thread block.
        return host::raw_syscall(SYS_clone, CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
                                 nullptr, nullptr, host::tid_field(tp), 0);
    });
    if (pid >= 0) return static_cast<pid_t>(pid);
    errno = static_cast<int>(-pid);
    return -1;
}

// No atfork handlers run, as natively.
int pf_clone(int (*body)(void*), void* stack, int flags, void* argument, ...) {
    va_list list;
    va_start(list, argument);
    auto* parent_tid = va_arg(list, pid_t*);
    void* tls = va_arg(list, void*);
    auto* child_tid = va_arg(list, pid_t*);
    va_end(list);
    Fiber* fiber = current_fiber();
    // With thread-local storage of its own, or none to speak of, the child is the program's
    // business.
    if (fiber == nullptr || body == nullptr || stack == nullptr || (flags & CLONE_SETTLS) != 0)
        return real(clone)(body, stack, flags, argument, parent_tid, tls, child_tid);
    if ((flags & CLONE_VM) == 0) {
        ChildStart start{body, argument};
        const long pid = forked(fiber, [&]() -> long {
            return real(clone)(start_copied_child, stack, flags, &start, parent_tid, tls,
                               child_tid);
        });
        return static_cast<int>(pid);
    }
    if ((flags & CLONE_VFORK) != 0) {
        ForeignMode foreign;
        return real(clone)(body, stack, flags, argument, parent_tid, tls, child_tid);
    }
    return clone_beside(fiber, {body, argument}, stack, flags, parent_tid, child_tid);
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
    const long arguments[5] = {host::syscall_argument(path), host::syscall_argument(argv),
                               host::syscall_argument(envp)};
    return static_cast<int>(interpose::result(interpose::execute_call(SYS_execve, arguments)));
}
int pf_execveat(int directory, const char* path, char* const argv[], char* const envp[],
                int flags) {
    const long arguments[5] = {directory, host::syscall_argument(path),
                               host::syscall_argument(argv), host::syscall_argument(envp), flags};
    return static_cast<int>(interpose::result(interpose::execute_call(SYS_execveat, arguments)));
}
int pf_fexecve(int fd, char* const argv[], char* const envp[]) {
    if (fd >= 0 && argv != nullptr && envp != nullptr)
        return pf_execveat(fd, "", argv, envp, AT_EMPTY_PATH);
    errno = EINVAL;
    return -1;
}

}  // extern "C"

// The two masks of the caller, the thread's and its worker's, where vfork_amd64.S has to install
// them; nothing is delivered from here on.
struct VforkMasks {
    const uint64_t* exact;
    const uint64_t* worker;
};
extern "C" __attribute__((visibility("hidden"))) VforkMasks pfiber_before_vfork() {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) return {nullptr, nullptr};
    fiber->pinned++;
    {
        RuntimeSection section(fiber);
        keep_worker(fiber);
    }
    install_exact_mask(~uint64_t{0});
    fiber->pinned--;
    return {&thread_of(fiber)->mask, &fiber->worker->kernel_mask};
}

extern "C" __attribute__((visibility("hidden"))) int pfiber_set_errno(int error) {
    errno = error;
    return -1;
}
