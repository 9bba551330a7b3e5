// Dispositions, the entry of every program handler, and delivery to a fiber (signal.h).
#include "shim/signal.h"

#include <errno.h>
#include <string.h>

#include "scheduler/base/options.h"
#include "scheduler/host/report.h"
#include "scheduler/host/signal.h"
#include "scheduler/host/touch.h"
#include "scheduler/processor.h"
#include "scheduler/runtime.h"
#include "shim/cancel.h"
#include "shim/credentials.h"
#include "shim/kernel_state.h"
#include "shim/inspect.h"
#include "shim/libc_sync.h"
#include "shim/thread.h"
#include "shim/timer_target.h"

namespace pfiber::shim {

void masks_start(uint64_t main_mask);
void masks_thread_added(uint64_t mask);
void masks_thread_removed(uint64_t mask);
void masks_after_fork();
void queue_thread_ending(Fiber* fiber);
void queue_after_fork();

namespace {

constexpr int kSignals = 65;

// What the program believes; the kernel has signal_entry() for those with a handler.
struct Action {
    void* handler = nullptr;  // SIG_DFL, SIG_IGN or the program's function
    unsigned long flags = 0;
    uint64_t mask = 0;
    void (*restorer)() = nullptr;
};
Action actions[kSignals];
Lock actions_lock;
bool wrapped = false;  // the kernel's handlers are ours

bool is_handler(const void* handler) {
    return handler != reinterpret_cast<void*>(SIG_DFL) &&
           handler != reinterpret_cast<void*>(SIG_IGN);
}

// Raised by the instruction itself: runs where it happened, whatever the fiber was doing.
bool is_fault(int signal, const siginfo_t* info) {
    return info->si_code > 0 && info->si_code != SI_KERNEL + 1000 &&
           (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
            signal == SIGTRAP || signal == SIGSYS);
}

// Ours is installed for these also when the program has none (touch.h).
bool is_watched(int signal) { return signal == SIGSEGV || signal == SIGBUS; }

void install_kernel_action(int signal, const Action& action);

// The default action of a watched signal, where the kernel called us instead: the kernel's turn.  A
// fault happens again when the handler returns; what somebody sent is sent again.
void perform_default(int signal, siginfo_t* info) {
    const host::KernelSigaction reset{};
    host::raw_sigaction(signal, &reset, nullptr);
    if (!is_fault(signal, info))
        host::raw_syscall(SYS_rt_tgsigqueueinfo, host::raw_getpid(), host::raw_gettid(), signal,
                          info);
}

void call(const Action& action, int signal, siginfo_t* info, void* context) {
    if ((action.flags & SA_SIGINFO) != 0)
        reinterpret_cast<void (*)(int, siginfo_t*, void*)>(action.handler)(signal, info, context);
    else
        reinterpret_cast<void (*)(int)>(action.handler)(signal);
}

// Takes the action of a signal that is about to run; SA_RESETHAND falls back to the default.
Action claim_action(int signal) {
    LockGuard guard(actions_lock);
    const Action action = actions[signal];
    if (is_handler(action.handler) && (action.flags & SA_RESETHAND) != 0) {
        actions[signal].handler = reinterpret_cast<void*>(SIG_DFL);
        install_kernel_action(signal, actions[signal]);
    }
    return action;
}

uint64_t mask_during(const Action& action, int signal, uint64_t mask) {
    mask |= action.mask;
    if ((action.flags & SA_NODEFER) == 0) mask |= signal_bit(signal);
    return mask;
}

void run_handler(Fiber* fiber, int signal, siginfo_t* info, void* context) {
    Thread* thread = thread_of(fiber);
    Action action;
    {
        RuntimeSection section(fiber);
        action = claim_action(signal);
    }
    if (!is_handler(action.handler)) return;  // changed between sending and now
    uint64_t mask = thread->mask;
    if (thread->has_suspend_restore) mask = thread->suspend_restore;
    const uintptr_t frame = fiber->handler_frame;
    const int32_t depth = fiber->handler_depth;
    const int saved_errno = errno;
    fiber->handler_frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    fiber->handler_depth = depth + 1;
    thread->interrupts.handlers++;
    if ((action.flags & SA_RESTART) == 0) thread->interrupts.without_restart++;
    set_thread_mask(fiber, mask_during(action, signal, thread->mask));
    host::set_saved_mask(context, mask);  // what the program sees and may edit
    call(action, signal, info, context);
    fiber->handler_depth = depth;
    fiber->handler_frame = frame;
    errno = saved_errno;
    set_thread_mask(fiber, host::saved_mask(context));
}

// A thread that the kernel alone runs: masks are the kernel's.
void run_natively(int signal, siginfo_t* info, void* context) {
    const Action action = claim_action(signal);
    if (!is_handler(action.handler)) return;
    const uint64_t mask = mask_during(action, signal, host::saved_mask(context));
    host::raw_sigprocmask(SIG_SETMASK, &mask, nullptr);
    call(action, signal, info, context);
}

// The one that deliver_pending() sent, not another of its number that came first.
bool is_raised(const Fiber* fiber, const siginfo_t* info) {
    constexpr size_t kCompared = 48;  // what the kernel and the program put there
    return fiber->raised_info != nullptr && memcmp(fiber->raised_info, info, kCompared) == 0;
}

// Entered with every signal blocked; leaves through sigreturn with the worker's mask.
PFIBER_SIGNAL_TEXT void signal_entry(int signal, siginfo_t* info, void* context) {
    const bool fault = is_fault(signal, info);
    if (fault && host::recover_touch(context)) return;
    if (is_watched(signal) && is_default(signal)) {
        perform_default(signal, info);
        return;
    }
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) {
        run_natively(signal, info, context);
        return;
    }
    if ((fiber->depth > 0 || fiber->is_scheduler) && !fault) {
        if (signal == SIGPIPE && !fiber->is_scheduler && info->si_pid == host::raw_getpid()) {
            // The writer's own, from a call made in the runtime: it is delivered when that is left.
            fiber->noted_sigpipe = true;
            fiber->attention.fetch_or(kAttendSignal);
        } else {
            note_signal(signal, info);
        }
        return;
    }
    const int saved_errno = errno;
    fiber->handler_depth++;  // no preemption in here
    // While nothing else can be delivered on top of us.
    const bool directed = is_raised(fiber, info);
    if (directed) fiber->raised_info = nullptr;
    Worker* worker = fiber->worker;
    host::raw_sigprocmask(SIG_SETMASK, &worker->kernel_mask, nullptr);
    Thread* thread = thread_of(fiber);
    const bool in_call = fiber->in_call;
    const bool in_runtime = fiber->depth > 0;
    const bool attends_in_call = fiber->attends_in_call;
    if (in_call && !in_runtime) {
        fiber->attends_in_call = false;
        exit_call(fiber);
    }
    const int32_t depth = fiber->depth;
    if (fault) fiber->depth = 0;
    Fiber* target = nullptr;
    const TimerSignal timer = directed ? TimerSignal::kProcess : timer_target(info, &target);
    const bool prefers_main = !directed && fiber != main_fiber() && main_fiber() != nullptr &&
                              (thread_of(main_fiber())->mask & signal_bit(signal)) == 0;
    if (timer == TimerSignal::kFiber) {
        send_to_fiber(target, signal, info);
    } else if (fault || directed ||
               (timer == TimerSignal::kProcess && !prefers_main &&
                (thread->mask & signal_bit(signal)) == 0 && !thread->is_ending)) {
        run_handler(fiber, signal, info, context);
    } else if (timer != TimerSignal::kDeleted) {
        send_to_process(signal, info);
    }
    if (fault) fiber->depth = depth;
    if (in_call && !in_runtime) {
        enter_call(fiber);
        fiber->attends_in_call = attends_in_call;
        // What arrived during the handler has taken back its notes; the call is not to begin anew.
        if (cancellation_is_due(fiber)) fiber->attention.fetch_or(kAttendCancel);
        if ((fiber->attention.load() & (kAttendSignal | kAttendCancel)) != 0)
            attends_in_call ? kick(fiber) : host::interrupt_blocking_syscall(context);
    }
    fiber->handler_depth--;
    check_attention(fiber);  // what was sent to this very fiber above
    errno = saved_errno;
    host::set_saved_mask(context, fiber->worker->kernel_mask);
}

// What was raised at the main thread before it became a fiber is its own, not its kernel thread's.
void adopt_pending(Fiber* main, uint64_t mask) {
    constexpr int kMost = 64;
    siginfo_t for_process[kMost];
    int count = 0;
    siginfo_t info;
    const timespec now{0, 0};
    while (count < kMost && host::raw_syscall(SYS_rt_sigtimedwait, &mask, &info, &now, 8) > 0) {
        if (info.si_code == SI_TKILL)
            send_to_fiber(main, info.si_signo, &info);
        else
            for_process[count++] = info;
    }
    for (int i = 0; i < count; i++)
        host::raw_syscall(SYS_rt_sigqueueinfo, host::raw_getpid(), for_process[i].si_signo,
                          &for_process[i]);
}

void install_kernel_action(int signal, const Action& action) {
    host::KernelSigaction kernel{};
    const bool is_watched_default =
        is_watched(signal) && action.handler == reinterpret_cast<void*>(SIG_DFL);
    if (!is_handler(action.handler) && !is_watched_default) {
        kernel.handler = action.handler;
        kernel.flags = action.flags & ~static_cast<unsigned long>(SA_RESETHAND);
        host::raw_sigaction(signal, &kernel, nullptr);
        return;
    }
    const unsigned long flags =
        action.flags &
        static_cast<unsigned long>(SA_ONSTACK | SA_RESTART | SA_NOCLDSTOP | SA_NOCLDWAIT);
    host::install_handler(signal, signal_entry, flags, ~uint64_t{0});
}

// Each kick of a worker, whatever it runs.
void kicked(void* context) {
    credentials_check();
    Fiber* fiber = current_fiber();
    if (fiber != nullptr && fiber->worker != nullptr) renew_mask(fiber->worker, context);
}

void attend(Fiber* fiber, uint32_t attention) {
    if ((attention & kAttendState) != 0) attend_kernel_state(fiber);
    if ((attention & kAttendSignal) != 0) deliver_pending(fiber);
    if ((attention & kAttendCancel) != 0) attend_cancellation(fiber);
}

}  // namespace

// A signal that is sent to the preemption signal's number by somebody else: the program's.
void foreign_preemption_signal(int signal, siginfo_t* info, void* context) {
    if (is_dump_request(info)) {
        request_monitor(kServeDump);
        return;
    }
    if (is_handler(actions[signal].handler)) signal_entry(signal, info, context);
}

void deliver_pending(Fiber* fiber) {
    if (fiber->in_call) {  // looked at again when the call is left
        fiber->attention.fetch_or(kAttendSignal);
        return;
    }
    Thread* thread = thread_of(fiber);
    siginfo_t info;
    if (fiber->noted_sigpipe) {
        fiber->noted_sigpipe = false;
        memset(&info, 0, sizeof info);
        info.si_signo = SIGPIPE;
        info.si_pid = host::raw_getpid();
        send_to_fiber(fiber, SIGPIPE, &info);
    }
    while (!thread->is_ending && take_pending(fiber, ~thread->mask, &info)) {
        const int signal = info.si_signo;
        if (is_ignored(signal)) continue;
        if (is_default(signal)) {
            send_to_fiber(fiber, signal, &info);
            continue;
        }
        // At our own kernel thread, so that the handler gets a real frame; nothing moves the fiber
        // in between.
        fiber->handler_depth++;
        // A kick on top of us delivers in the same way, before our own signal or before its entry.
        const void* interrupted = fiber->raised_info;
        fiber->raised_info = &info;
        const uint64_t bit = signal_bit(signal);
        uint64_t old = 0;
        host::raw_sigprocmask(SIG_UNBLOCK, &bit, &old);
        host::raw_syscall(SYS_rt_tgsigqueueinfo, host::raw_getpid(), host::raw_gettid(), signal,
                          &info);
        fiber->raised_info = interrupted;
        fiber->handler_depth--;
        host::raw_sigprocmask(SIG_SETMASK, &fiber->worker->kernel_mask, nullptr);
    }
}

long set_action(int signal, const struct sigaction* action, struct sigaction* old) {
    if (signal < 1 || signal >= kSignals || signal == SIGKILL || signal == SIGSTOP ||
        signal == 32 || signal == 33)
        return action == nullptr && signal >= 1 && signal < kSignals && signal != 32 && signal != 33
                   ? host::raw_syscall(SYS_rt_sigaction, signal, nullptr, nullptr, 8)
                   : -EINVAL;
    Action before, now;
    {
        OptionalSection section;
        LockGuard guard(actions_lock);
        before = actions[signal];
        if (action != nullptr) {
            now.handler = reinterpret_cast<void*>(action->sa_handler);
            now.flags = static_cast<unsigned>(action->sa_flags);
            now.mask = mask_of(&action->sa_mask);
            actions[signal] = now;
            if (signal != options().signal) install_kernel_action(signal, now);
            if (signal == SIGQUIT) watch_quit();
        }
    }
    if (action != nullptr && is_ignored(signal)) drop_pending(signal);
    if (old != nullptr) {
        memset(old, 0, sizeof *old);
        old->sa_handler = reinterpret_cast<void (*)(int)>(before.handler);
        old->sa_flags = static_cast<int>(before.flags);
        mask_to(before.mask, &old->sa_mask);
    }
    return 0;
}

bool signals_wrapped() { return wrapped; }

bool is_ignored(int signal) {
    const void* handler = actions[signal].handler;
    return handler == reinterpret_cast<void*>(SIG_IGN) ||
           (handler == reinterpret_cast<void*>(SIG_DFL) &&
            (signal == SIGCHLD || signal == SIGURG || signal == SIGWINCH || signal == SIGCONT));
}

bool is_default(int signal) { return actions[signal].handler == reinterpret_cast<void*>(SIG_DFL); }

void signals_start(Fiber* main) {
    uint64_t mask = 0;
    host::raw_sigprocmask(SIG_SETMASK, nullptr, &mask);
    thread_of(main)->mask = mask;
    masks_start(mask);
    adopt_pending(main, mask);
    for (int signal = 1; signal < kSignals; signal++) {
        if (signal == SIGKILL || signal == SIGSTOP || signal == 32 || signal == 33) continue;
        if (wrapped && is_handler(actions[signal].handler)) continue;  // a fork child starts again
        host::KernelSigaction kernel{};
        host::raw_sigaction(signal, nullptr, &kernel);
        if (signal == options().signal) {
            if (wrapped) continue;
            kernel = preempt_displaced_action;
        }
        actions[signal] = {kernel.handler, kernel.flags & ~host::kSaRestorer, kernel.mask,
                           kernel.restorer};
        if ((is_handler(kernel.handler) || is_watched(signal)) && signal != options().signal)
            install_kernel_action(signal, actions[signal]);
    }
    wrapped = true;
    runtime_callbacks.attend = attend;
    runtime_callbacks.attend_in_call = attend_libc_wait;
    runtime_callbacks.worker_mask = install_worker_mask;
    runtime_callbacks.serve = serve_requests;
    runtime_callbacks.kicked = kicked;
    watch_quit();
    runtime_callbacks.foreign_signal = foreign_preemption_signal;
}

void signals_after_fork(Fiber* survivor) {
    actions_lock.reset();
    masks_after_fork();
    queue_after_fork();
    timer_targets_after_fork();
    thread_of(survivor)->pending.store(0);
    thread_of(survivor)->waiting_for.store(0);
    host::raw_sigprocmask(SIG_SETMASK, &thread_of(survivor)->mask, nullptr);
}

void signals_inherit(Thread* thread, Fiber* creator, const uint64_t* explicit_mask) {
    if (explicit_mask != nullptr)
        thread->mask = *explicit_mask;
    else if (creator != nullptr)
        thread->mask = thread_of(creator)->mask;
    else
        host::raw_sigprocmask(SIG_SETMASK, nullptr, &thread->mask);
    OptionalSection section;
    masks_thread_added(thread->mask);
}

void signals_thread_started(Fiber* fiber) {
    // A signal sent before the first instruction.
    if (thread_of(fiber)->pending.load() != 0) deliver_pending(fiber);
}

void signals_thread_ending(Fiber* fiber) {
    RuntimeSection section(fiber);
    masks_thread_removed(thread_of(fiber)->mask);
    queue_thread_ending(fiber);
    fiber->attention.fetch_and(~uint32_t{kAttendSignal | kAttendCancel});
}

}  // namespace pfiber::shim
