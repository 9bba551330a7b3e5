// Waiting for signals: sigwait and its kin, sigsuspend, pause.
//
// A sigwaiter takes what is pending in our queues, then blocks in the kernel's rt_sigtimedwait with
// its processor handed off: process-directed signals that everybody blocks are the kernel's to keep
// and to give.  A directed signal kicks it out of the call.
#include <errno.h>
#include <time.h>

#include "scheduler/base/counters.h"
#include "scheduler/host/signal.h"
#include "scheduler/processor.h"
#include "shim/cancel.h"
#include "shim/signal.h"
#include "shim/thread.h"

namespace pfiber::shim {

int wait_for_signal(Fiber* fiber, uint64_t set, siginfo_t* info, int64_t deadline_ns) {
    Thread* thread = thread_of(fiber);
    siginfo_t own;
    if (info == nullptr) info = &own;
    const InterruptMark mark = interrupt_mark(fiber);
    COUNT(parks_signal);
    for (;;) {
        thread->waiting_for.store(set);
        if (take_pending(fiber, set, info)) break;
        timespec left{0, 0};
        if (deadline_ns != kNever) {
            const int64_t rest = deadline_ns - Platform::now_ns();
            if (rest > 0) left = {rest / 1000000000, rest % 1000000000};
        }
        const long arguments[6] = {reinterpret_cast<long>(&set),
                                   reinterpret_cast<long>(info),
                                   deadline_ns == kNever ? 0 : reinterpret_cast<long>(&left),
                                   8,
                                   0,
                                   0};
        enter_blocking_call(fiber);
        // The kernel gives a signal to the waiter only while the waiter blocks it.
        install_exact_mask((thread->mask | set) & ~signal_bit(SIGURG));
        const long rc =
            cancellation_is_due(fiber)
                ? -EINTR
                : host::pfiber_blocking_syscall(&fiber->attention, kAttendSignal | kAttendCancel,
                                                SYS_rt_sigtimedwait, arguments);
        reinstall_worker_mask(fiber->worker);
        thread->waiting_for.store(0);
        exit_call(fiber);
        if (rc > 0) return static_cast<int>(rc);
        if (rc == -EAGAIN) {
            if (take_pending(fiber, set, info)) return info->si_signo;
            return -EAGAIN;
        }
        if (rc != -EINTR) return static_cast<int>(rc);
        cancellation_point(fiber);
        if (interrupted_since(fiber, mark, false)) {
            if (take_pending(fiber, set, info)) return info->si_signo;
            return -EINTR;
        }
    }
    thread->waiting_for.store(0);
    return info->si_signo;
}

int suspend_with_mask(Fiber* fiber, uint64_t mask) {
    Thread* thread = thread_of(fiber);
    const uint64_t before = thread->mask;
    const InterruptMark mark = interrupt_mark(fiber);
    COUNT(parks_signal);
    // The handler's return restores the mask from before the call, not the one waited with.
    thread->suspend_restore = before;
    thread->has_suspend_restore = mask != before;
    set_thread_mask(fiber, mask);
    while (!interrupted_since(fiber, mark, false) && !cancellation_is_due(fiber)) {
        RuntimeSection section(fiber);
        // A handler may have run since the look above; from here on they wait for the wait.
        if (interrupted_since(fiber, mark, false) || cancellation_is_due(fiber)) break;
        fiber->park.arm();
        park(fiber, WaitReason::kPause);
    }
    thread->has_suspend_restore = false;
    set_thread_mask(fiber, before);
    cancellation_point(fiber);
    return -EINTR;
}

}  // namespace pfiber::shim
