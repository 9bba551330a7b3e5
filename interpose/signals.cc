// Signal calls: the bodies call shim/signal.  Before the start the kernel serves them; handlers
// that were installed by then are taken over.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <atomic>

#include "interpose/clocks.h"
#include "interpose/hooks.h"
#include "interpose/raw_calls.h"
#include "interpose/regions.h"
#include "scheduler/host/signal.h"
#include "scheduler/host/touch.h"
#include "scheduler/processor.h"
#include "scheduler/runtime.h"
#include "shim/cancel.h"
#include "shim/inspect.h"
#include "shim/signal.h"
#include "shim/thread.h"

using namespace pfiber;
using namespace pfiber::shim;

namespace pfiber::shim {
bool signals_wrapped();
}

namespace {

int fail(long rc) {
    if (rc >= 0) return static_cast<int>(rc);
    errno = static_cast<int>(-rc);
    return -1;
}

constexpr uint64_t kInternal = uint64_t{3} << 31;  // glibc keeps 32 and 33 for itself

// The calling thread's mask; `rc` as the system call's: 0 or -errno.
long change_mask(int how, const sigset_t* set, sigset_t* old) {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) {
        uint64_t raw_set = 0, raw_old = 0;
        if (set != nullptr) raw_set = mask_of(set) & ~kInternal;
        const long rc = host::raw_sigprocmask(how, set == nullptr ? nullptr : &raw_set, &raw_old);
        if (rc == 0 && old != nullptr) mask_to(raw_old, old);
        return rc;
    }
    const uint64_t before = thread_of(fiber)->mask;
    uint64_t now = before;
    if (set != nullptr) {
        const uint64_t wanted = mask_of(set);
        switch (how) {
            case SIG_BLOCK:
                now |= wanted;
                break;
            case SIG_UNBLOCK:
                now &= ~wanted;
                break;
            case SIG_SETMASK:
                now = wanted;
                break;
            default:
                return -EINVAL;
        }
    }
    if (old != nullptr && !host::can_write(old, sizeof *old)) return -EFAULT;
    if (old != nullptr) mask_to(before, old);
    if (set != nullptr) set_thread_mask(fiber, now);
    return 0;
}

siginfo_t info_from_self(int signal, int code) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = signal;
    info.si_code = code;
    info.si_pid = host::raw_getpid();
    info.si_uid = static_cast<uid_t>(host::raw_syscall(SYS_getuid));
    return info;
}

// RLIMIT_SIGPENDING, which the kernel counts for real-time signals; ours are not in its count.
bool may_queue_no_more(int signal) {
    if (signal < 32) return false;
    struct {
        uint64_t current, most;
    } limit{};
    return host::raw_syscall(SYS_prlimit64, 0, RLIMIT_SIGPENDING, nullptr, &limit) == 0 &&
           signals_queued() >= limit.current;
}

int send_directed(Fiber* target, int signal, const siginfo_t* info) {
    if (signal < 0 || signal > 64) return EINVAL;
    const FiberState state = target->state.load();
    if (state == FiberState::kFinished) return 0;  // as glibc since 2.34: no error, no effect
    if (state == FiberState::kFree) return ESRCH;
    if (signal == 0) return 0;
    if (signal == 32 || signal == 33) return EINVAL;
    if (may_queue_no_more(signal)) return EAGAIN;
    const int rc = send_to_fiber(target, signal, info);
    if (Fiber* self = current_fiber()) check_attention(self);
    return rc;
}

std::atomic<uint64_t> interrupting{0};  // siginterrupt() asked for: signal() knows it too

long set_signal(int signal, void (*handler)(int), int flags, uint64_t mask, struct sigaction* old) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    mask_to(mask, &action.sa_mask);
    return pf_sigaction(signal, &action, old);
}

int wait_signal(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
    Fiber* fiber = current_fiber();
    if (fiber != nullptr && timeout != nullptr) {
        if (!host::can_read(timeout)) return -EFAULT;
        if (!interpose::is_valid(timeout) || timeout->tv_sec < 0) return -EINVAL;
    }
    int signal;
    if (fiber == nullptr) {
        signal =
            static_cast<int>(interpose::plain_call(SYS_rt_sigtimedwait, set, info, timeout, 8));
    } else {
        cancellation_point(fiber);
        if (!host::can_read(set, 8) || (info != nullptr && !host::can_write(info, sizeof *info)))
            return -EFAULT;
        int64_t deadline = kNever;
        if (timeout != nullptr)
            deadline = interpose::deadline_after(interpose::nanoseconds(timeout));
        signal = wait_for_signal(fiber, mask_of(set), info, deadline);
    }
    // As glibc shows it: a waiter cannot tell tgkill from kill.
    if (signal > 0 && info != nullptr && info->si_code == SI_TKILL) info->si_code = SI_USER;
    return signal;
}

int suspend(const sigset_t* set) {  // null: with the mask as it is
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) return fail(interpose::plain_call(SYS_rt_sigsuspend, set, 8));
    cancellation_point(fiber);
    if (set != nullptr && !host::can_read(set, 8)) return fail(-EFAULT);
    return fail(suspend_with_mask(fiber, set == nullptr ? thread_of(fiber)->mask : mask_of(set)));
}

}  // namespace

extern "C" {

int pf_sigaction(int signal, const struct sigaction* action, struct sigaction* old) {
    if (!signals_wrapped()) return real(sigaction)(signal, action, old);
    return fail(set_action(signal, action, old));
}

sighandler_t pf_signal(int signal, sighandler_t handler) {
    if (handler == SIG_ERR || signal < 1 || signal > 64) {
        errno = EINVAL;
        return SIG_ERR;
    }
    struct sigaction old;
    const uint64_t bit = signal_bit(signal);
    const int flags = (interrupting.load() & bit) != 0 ? 0 : SA_RESTART;
    return set_signal(signal, handler, flags, bit, &old) == 0 ? old.sa_handler : SIG_ERR;
}

sighandler_t pf_sysv_signal(int signal, sighandler_t handler) {
    struct sigaction old;
    if (handler == SIG_ERR || signal < 1 || signal > 64) {
        errno = EINVAL;
        return SIG_ERR;
    }
    return set_signal(signal, handler, static_cast<int>(SA_RESETHAND | SA_NODEFER), 0, &old) == 0
               ? old.sa_handler
               : SIG_ERR;
}

int pf_siginterrupt(int signal, int interrupts) {
    struct sigaction action;
    if (pf_sigaction(signal, nullptr, &action) != 0) return -1;
    if (interrupts != 0) {
        interrupting.fetch_or(signal_bit(signal));
        action.sa_flags &= ~SA_RESTART;
    } else {
        interrupting.fetch_and(~signal_bit(signal));
        action.sa_flags |= SA_RESTART;
    }
    return pf_sigaction(signal, &action, nullptr);
}

int pf_sigprocmask(int how, const sigset_t* set, sigset_t* old) {
    return fail(change_mask(how, set, old));
}

int pf_pthread_sigmask(int how, const sigset_t* set, sigset_t* old) {
    return static_cast<int>(-change_mask(how, set, old));
}

int pf_sigblock(int mask) {
    sigset_t set, old;
    mask_to(static_cast<unsigned>(mask), &set);
    change_mask(SIG_BLOCK, &set, &old);
    return static_cast<int>(mask_of(&old));
}

int pf_sigsetmask(int mask) {
    sigset_t set, old;
    mask_to(static_cast<unsigned>(mask), &set);
    change_mask(SIG_SETMASK, &set, &old);
    return static_cast<int>(mask_of(&old));
}

int pf_pthread_kill(pthread_t thread, int signal) {
    Fiber* target = fiber_of(thread);
    if (target == nullptr) return real(pthread_kill)(thread, signal);
    const siginfo_t info = info_from_self(signal, SI_TKILL);
    return send_directed(target, signal, &info);
}

// To the own process, from a fiber, for a handler: served here, since the kernel would choose among
// workers and be done before the handler ran; POSIX wants it before the return when only the caller
// is willing.
bool is_for_own_handler(pid_t process, int signal) {
    return current_fiber() != nullptr && signals_wrapped() && signal >= 1 && signal <= 64 &&
           process == host::raw_getpid() && !is_default(signal) && !is_ignored(signal);
}

// The caller's own process ends before the call returns, and nobody needs a list of its threads;
// or everybody blocks the signal, and the kernel is to find no thread that lets it through: one
// that ended a moment ago may have been the last that did, and not all workers have heard of it.
void expect_default_action(pid_t process, int signal) {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr || !signals_wrapped() || signal < 1 || signal > 64 || !is_default(signal))
        return;
    const bool includes_own = process == 0 || process == host::raw_getpid() ||
                              process == -host::raw_syscall(SYS_getpgid, 0);
    if (!includes_own) return;
    if (signal == SIGQUIT) unwatch_quit();
    if ((process_mask() & signal_bit(signal)) == 0) return;
    RuntimeSection section(fiber);
    install_worker_mask(fiber->worker);
    renew_other_masks(fiber->worker);
}

Fiber* fiber_of_id(pid_t id) {
    return id >= static_cast<pid_t>(kFirstFiberTid) ? fiber_with_tid(static_cast<uint32_t>(id))
                                                    : nullptr;
}

// The kernel takes the id of any thread for its process's, and prefers that thread.
void send_by_id(pid_t id, int signal, const siginfo_t* info) {
    Fiber* fiber = fiber_of_id(id);
    if (fiber != nullptr && (thread_of(fiber)->mask & signal_bit(signal)) == 0)
        send_directed(fiber, signal, info);
    else
        send_to_process(signal, info);
}

long queue_to_process(pid_t id, int signal, const siginfo_t* info) {
    const pid_t process = fiber_of_id(id) != nullptr ? host::raw_getpid() : id;
    expect_default_action(process, signal);
    if (!is_for_own_handler(process, signal))
        return host::raw_syscall(SYS_rt_sigqueueinfo, process, signal, info);
    if (may_queue_no_more(signal)) return -EAGAIN;
    send_by_id(id, signal, info);
    return 0;
}

int pf_kill(pid_t id, int signal) {
    const pid_t process = fiber_of_id(id) != nullptr ? host::raw_getpid() : id;
    expect_default_action(process, signal);
    if (!is_for_own_handler(process, signal))
        return fail(host::raw_syscall(SYS_kill, process, signal));
    const siginfo_t info = info_from_self(signal, SI_USER);
    send_by_id(id, signal, &info);
    return 0;
}

int pf_sigqueue(pid_t process, int signal, const sigval value) {
    siginfo_t info = info_from_self(signal, SI_QUEUE);
    info.si_value = value;
    return fail(queue_to_process(process, signal, &info));
}

int pf_pthread_sigqueue(pthread_t thread, int signal, const sigval value) {
    Fiber* target = fiber_of(thread);
    if (target == nullptr) return real(pthread_sigqueue)(thread, signal, value);
    siginfo_t info = info_from_self(signal, SI_QUEUE);
    info.si_value = value;
    return send_directed(target, signal, &info);
}

int pf_raise(int signal) {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr)
        return fail(host::raw_tgkill(host::raw_getpid(), host::raw_gettid(), signal));
    const int rc = pf_pthread_kill(handle_of(fiber), signal);
    if (rc == 0) return 0;
    errno = rc;
    return -1;
}

int pf_tgkill(pid_t process, pid_t thread, int signal) {
    Fiber* target =
        process == host::raw_getpid() ? fiber_with_tid(static_cast<uint32_t>(thread)) : nullptr;
    if (target == nullptr) return fail(host::raw_tgkill(process, thread, signal));
    const siginfo_t info = info_from_self(signal, SI_TKILL);
    const int rc = send_directed(target, signal, &info);
    return rc == 0 ? 0 : fail(-rc);
}

int pf_sigwait(const sigset_t* set, int* signal) {
    int rc;
    do rc = wait_signal(set, nullptr, nullptr);
    while (rc == -EINTR);
    if (rc < 0) return -rc;
    *signal = rc;
    return 0;
}

int pf_sigwaitinfo(const sigset_t* set, siginfo_t* info) {
    return fail(wait_signal(set, info, nullptr));
}

int pf_sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
    return fail(wait_signal(set, info, timeout));
}

int pf_sigsuspend(const sigset_t* set) { return set == nullptr ? fail(-EFAULT) : suspend(set); }

int pf_pause() {
    if (current_fiber() == nullptr) return fail(interpose::plain_call(SYS_pause));
    return suspend(nullptr);
}

int pf_sigpending(sigset_t* set) {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) return fail(host::raw_syscall(SYS_rt_sigpending, set, 8));
    if (!host::can_write(set, sizeof *set)) return fail(-EFAULT);
    uint64_t pending = 0;
    if (current_fiber() != nullptr && signals_are_noted()) dispatch_noted_signals();
    host::raw_syscall(SYS_rt_sigpending, &pending, 8);
    pending = (pending | pending_for(fiber)) & thread_of(fiber)->mask;
    mask_to(pending, set);
    return 0;
}

int pf_sigaltstack(const stack_t* stack, stack_t* old) {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) return fail(host::raw_syscall(SYS_sigaltstack, stack, old));
    // The kernel checks it and keeps it for this worker; the switch keeps it with the fiber.
    RuntimeSection section(fiber);
    if (stack != nullptr && !host::can_read(stack, sizeof *stack)) return fail(-EFAULT);
    const bool off = stack == nullptr || (stack->ss_flags & SS_DISABLE) != 0;
    const auto low = off ? 0 : reinterpret_cast<uintptr_t>(stack->ss_sp);
    if (low != 0) alternate_stack_told(fiber, low, stack->ss_size);
    const long rc = host::raw_syscall(SYS_sigaltstack, stack, old);
    if (rc == 0 && stack != nullptr) {
        fiber->alternate_stack = low;
        fiber->alternate_stack_size = off ? 0 : stack->ss_size;
        fiber->alternate_stack_flags = off ? 0 : stack->ss_flags;
        fiber->worker->alternate_stack = fiber->alternate_stack;
    }
    if (stack != nullptr && (rc != 0 || low == 0))
        alternate_stack_told(fiber, fiber->alternate_stack, fiber->alternate_stack_size);
    return fail(rc);
}

}  // extern "C"

namespace pfiber::interpose {

bool serve_queue_call(long number, const long* a, long* answer) {
    const bool is_directed = number == SYS_rt_tgsigqueueinfo;
    if (current_fiber() == nullptr || (!is_directed && number != SYS_rt_sigqueueinfo)) return false;
    const int signal = static_cast<int>(a[is_directed ? 2 : 1]);
    const auto* given = reinterpret_cast<const siginfo_t*>(a[is_directed ? 3 : 2]);
    Fiber* target = is_directed && a[0] == host::raw_getpid()
                        ? fiber_with_tid(static_cast<uint32_t>(a[1]))
                        : nullptr;
    if (is_directed && target == nullptr) return false;
    if (!host::can_read(given)) return *answer = -EFAULT, true;
    siginfo_t info = *given;
    info.si_signo = signal;
    *answer = is_directed ? -send_directed(target, signal, &info)
                          : queue_to_process(static_cast<pid_t>(a[0]), signal, &info);
    return true;
}

}  // namespace pfiber::interpose
