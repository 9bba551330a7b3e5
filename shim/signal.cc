// Dispositions, and the start of it all (signal.h).
#include "shim/signal.h"

#include <errno.h>
#include <string.h>

#include <atomic>

#include "scheduler/base/options.h"
#include "scheduler/host/call_filter.h"
#include "scheduler/host/report.h"
#include "scheduler/host/signal.h"
#include "scheduler/host/touch.h"
#include "scheduler/processor.h"
#include "scheduler/runtime.h"
#include "shim/cancel.h"
#include "shim/credentials.h"
#include "shim/kernel_state.h"
#include "shim/dump.h"
#include "shim/inspect.h"
#include "shim/libc_sync.h"
#include "shim/thread.h"
#include "shim/timer_target.h"

namespace pfiber::shim {

void masks_start(uint64_t main_mask);
void masks_thread_added(uint64_t mask);
uint64_t masks_thread_removed(uint64_t mask);
void masks_after_fork();
void queue_thread_ending(Fiber* fiber);
void queue_after_fork(Fiber* survivor);

namespace {

constexpr int kSignals = 65;

Action actions[kSignals];
Lock actions_lock;
bool wrapped = false;  // the kernel's handlers are ours
std::atomic<uint64_t> ever_handled{0};
int process_id = 0;  // whose they are

// What was raised at the main thread before it became a fiber is its own, not its kernel thread's.
void adopt_pending(Fiber* main, uint64_t mask) {
    constexpr int kMost = 64;
    siginfo_t for_process[kMost];
    int count = 0;
    siginfo_t info;
    const timespec now{0, 0};
    while (count < kMost && host::optional_syscall(host::kSigtimedwait, SYS_rt_sigtimedwait, &mask,
                                                   &info, &now, 8) > 0) {
        if (info.si_code == SI_TKILL)
            send_to_fiber(main, info.si_signo, &info);
        else
            for_process[count++] = info;
    }
    for (int i = 0; i < count; i++)
        host::raw_syscall(SYS_rt_sigqueueinfo, host::raw_getpid(), for_process[i].si_signo,
                          &for_process[i]);
}

long install_kernel_action(int signal, const Action& action) {
    host::KernelSigaction kernel{};
    const bool is_watched_default =
        is_watched(signal) && action.handler == reinterpret_cast<void*>(SIG_DFL);
    if (!is_handler(action.handler) && !is_watched_default) {
        kernel.handler = action.handler;
        kernel.flags = action.flags & ~static_cast<unsigned long>(SA_RESETHAND);
        return host::raw_sigaction(signal, &kernel, nullptr);
    }
    if (is_handler(action.handler))
        ever_handled.fetch_or(signal_bit(signal), std::memory_order_relaxed);
    const unsigned long flags =
        action.flags &
        static_cast<unsigned long>(SA_ONSTACK | SA_RESTART | SA_NOCLDSTOP | SA_NOCLDWAIT);
    return host::install_handler(signal, signal_entry, flags, ~uint64_t{0});
}

// In a child that shares our memory until it execs (vfork): its actions are its own, the table is
// its parent's.
bool is_borrowed() {
    return wrapped && current_fiber() == nullptr && host::raw_getpid() != process_id;
}

void set_in_kernel_alone(int signal, const struct sigaction* action) {
    host::KernelSigaction kernel{};
    kernel.handler = reinterpret_cast<void*>(action->sa_handler);
    kernel.mask = mask_of(&action->sa_mask);
    kernel.flags = static_cast<unsigned>(action->sa_flags);
    if (is_handler(kernel.handler))
        host::install_handler(signal, reinterpret_cast<host::SignalHandler>(kernel.handler),
                              kernel.flags, kernel.mask);
    else
        host::raw_sigaction(signal, &kernel, nullptr);
}

// Other kernel threads took some of `set` perhaps, and got no further yet.
void await_taken(Fiber* fiber, uint64_t set) {
    RuntimeSection section(fiber);
    await_entries(fiber->worker, set);
    if (signals_are_noted()) dispatch_noted_signals();
}

// What the kernel gave out under the action that is about to go belongs to that action: natively a
// thread that may take it runs the handler before its next call returns.  Here it may still wait
// for another worker to wake up, or for the monitor to pass on what landed in the runtime.
void finish_with_action(Fiber* fiber, int signal) {
    const uint64_t bit = signal_bit(signal);
    if ((thread_of(fiber)->mask & bit) != 0) return;
    {
        RuntimeSection section(fiber);
        // The kernel looks at the process's pending signals when a mask opens; this worker's may be
        // closed still, from before another thread's change.
        host::raw_sigprocmask(SIG_BLOCK, &bit, nullptr);
        host::raw_sigprocmask(SIG_UNBLOCK, &bit, nullptr);
        host::raw_sigprocmask(SIG_SETMASK, &fiber->worker->kernel_mask, nullptr);
    }
    await_taken(fiber, bit);
    if ((pending_for(fiber) & bit) != 0) deliver_pending(fiber, bit);
}

// What another kernel thread was chosen for, or took and noted, came before what the pollers report
// now: a handler that runs after the bytes that were written later were read surprises programs.
void pass_on_signals() {
    note_overdue_signals();
    if (signals_are_noted()) dispatch_noted_signals();
}

// The processor is somebody else's meanwhile: its handler may need it.
void await_beginning(Fiber* fiber, uint64_t set) {
    constexpr int kLooks = 100;
    const timespec moment{0, 50000};
    if ((pending_for_process() & set) == 0) return;
    enter_blocking_call(fiber);
    for (int i = 0; i < kLooks && (pending_for_process() & set) != 0; i++)
        host::raw_syscall(SYS_nanosleep, &moment, nullptr);
    exit_call(fiber);
}

// Each kick of a worker, whatever it runs.
void kicked(void* context) {
    credentials_check();
    Fiber* fiber = current_fiber();
    if (fiber != nullptr && fiber->worker != nullptr) renew_mask(fiber->worker, context);
}

void attend(Fiber* fiber, uint32_t attention) {
    if ((attention & kAttendState) != 0) attend_kernel_state(fiber);
    if ((attention & kAttendSignal) != 0) {
        if (signals_are_noted()) dispatch_noted_signals();
        deliver_pending(fiber);
    }
    if ((attention & kAttendCancel) != 0) attend_cancellation(fiber);
}

}  // namespace

void handle_signals_until_now(Fiber* fiber) {
    const uint64_t set = signals_handled() & ~process_mask();
    if (set == 0) return;
    note_overdue_signals();
    await_taken(fiber, set);
    if (deliverable_to(fiber) != 0) deliver_pending(fiber);
}

void handle_signals_before_end(Fiber* fiber) {
    const uint64_t set = signals_handled() & ~process_mask();
    if (set == 0 || fiber->depth != 0) return;
    {
        RuntimeSection section(fiber);
        pass_on_signals();
    }
    if (deliverable_to(fiber) != 0) deliver_pending(fiber);
    await_beginning(fiber, set);
}

// A signal that is sent to the preemption signal's number by somebody else: the program's.
void foreign_preemption_signal(int signal, siginfo_t* info, void* context) {
    if (is_dump_request(info)) return;
    info->si_signo = signal;
    entry_of_preemption_signal(current_fiber(), info, context);
}

bool is_handler(const void* handler) {
    return handler != reinterpret_cast<void*>(SIG_DFL) &&
           handler != reinterpret_cast<void*>(SIG_IGN);
}

bool has_handler(int signal) { return is_handler(actions[signal].handler); }

uint64_t signals_handled() { return ever_handled.load(std::memory_order_relaxed); }

Action claim_action(int signal) {
    LockGuard guard(actions_lock);
    const Action action = actions[signal];
    if (is_handler(action.handler) && (action.flags & SA_RESETHAND) != 0) {
        actions[signal].handler = reinterpret_cast<void*>(SIG_DFL);
        install_kernel_action(signal, actions[signal]);
    }
    return action;
}

long set_action(int signal, const struct sigaction* action, struct sigaction* old) {
    if (signal < 1 || signal >= kSignals || signal == SIGKILL || signal == SIGSTOP ||
        signal == 32 || signal == 33)
        return action == nullptr && signal >= 1 && signal < kSignals && signal != 32 && signal != 33
                   ? host::raw_syscall(SYS_rt_sigaction, signal, nullptr, nullptr, 8)
                   : -EINVAL;
    Action before, now;
    const bool borrowed = is_borrowed();
    Fiber* fiber = current_fiber();
    if (action != nullptr && wrapped && fiber != nullptr && !fiber->is_scheduler &&
        has_handler(signal))
        finish_with_action(fiber, signal);
    {
        OptionalSection section;
        LockGuard guard(actions_lock);
        before = actions[signal];
        if (action != nullptr && borrowed) {
            set_in_kernel_alone(signal, action);
        } else if (action != nullptr) {
            now.handler = reinterpret_cast<void*>(action->sa_handler);
            now.flags = static_cast<unsigned>(action->sa_flags);
            now.mask = mask_of(&action->sa_mask);
            actions[signal] = now;
            const long rc = signal == options().signal ? 0 : install_kernel_action(signal, now);
            if (rc != 0) return actions[signal] = before, rc;
            if (signal == SIGQUIT) watch_quit();
        }
    }
    if (action != nullptr && !borrowed && is_ignored(signal)) drop_pending(signal);
    if (old != nullptr) {
        memset(old, 0, sizeof *old);
        old->sa_handler = reinterpret_cast<void (*)(int)>(before.handler);
        old->sa_flags = static_cast<int>(before.flags);
        mask_to(before.mask, &old->sa_mask);
    }
    return 0;
}

void watch_signal(int signal) {
    if (is_watched(signal)) return;
    OptionalSection section;
    LockGuard guard(actions_lock);
    watched_signals.fetch_or(signal_bit(signal));
    if (is_default(signal) && signal != options().signal)
        install_kernel_action(signal, actions[signal]);
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
    // A fork's child that starts again has the table, and in the kernel what we put there.
    for (int signal = 1; signal < kSignals && !wrapped; signal++) {
        if (signal == SIGKILL || signal == SIGSTOP || signal == 32 || signal == 33) continue;
        host::KernelSigaction kernel{};
        host::raw_sigaction(signal, nullptr, &kernel);
        if (signal == options().signal) kernel = preempt_displaced_action;
        actions[signal] = {kernel.handler, kernel.flags & ~host::kSaRestorer, kernel.mask,
                           kernel.restorer};
        if ((is_handler(kernel.handler) || is_watched(signal)) && signal != options().signal)
            install_kernel_action(signal, actions[signal]);
    }
    wrapped = true;
    host::touch_recovers = true;
    process_id = host::raw_getpid();
    runtime_callbacks.attend = attend;
    runtime_callbacks.attend_in_call = attend_libc_wait;
    runtime_callbacks.raise_on_return = raise_on_return;
    runtime_callbacks.worker_mask = install_worker_mask;
    runtime_callbacks.serve = serve_requests;
    runtime_callbacks.pass_on_signals = pass_on_signals;
    runtime_callbacks.kicked = kicked;
    watch_quit();
    runtime_callbacks.foreign_signal = foreign_preemption_signal;
}

void signals_after_fork(Fiber* survivor) {
    process_id = host::raw_getpid();
    actions_lock.reset();
    dump_after_fork();
    masks_after_fork();
    queue_after_fork(survivor);
    timer_targets_after_fork();
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
    // What was sent before the first instruction, and what waited on the process for a taker.
    if (deliverable_to(fiber) != 0) deliver_pending(fiber);
}

void signals_handle_pending(Fiber* fiber) {
    if (signals_are_noted()) dispatch_noted_signals();
    if (deliverable_to(fiber) != 0) deliver_pending(fiber);
}

void signals_thread_ending(Fiber* fiber) {
    // What was sent while it still took signals is handled by it, as natively: whoever sent it
    // counts on that, and perhaps nobody else is willing.
    signals_handle_pending(fiber);
    RuntimeSection section(fiber);
    if (masks_thread_removed(thread_of(fiber)->mask) != 0) renew_other_masks(fiber->worker);
    queue_thread_ending(fiber);
    fiber->attention.fetch_and(~uint32_t{kAttendSignal | kAttendCancel});
}

}  // namespace pfiber::shim
