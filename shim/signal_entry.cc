// The entry of every program handler, and delivery to a fiber (signal.h).
//
// The kernel enters with every signal blocked.  Nothing is opened before it is decided whose the
// signal is and, when its handler runs here, before that handler's mask is the fiber's.  At the end
// everything is blocked again, so that the kernel's sigreturn restores the mask and drops the frame
// in one step; what may be delivered by then is kicked for, and comes when the frame is gone (S8).
// While everything is blocked the fiber neither parks nor yields: its worker would run others so.
#include <errno.h>
#include <string.h>

#include <atomic>

#include "scheduler/base/options.h"
#include "scheduler/host/report.h"
#include "scheduler/host/signal.h"
#include "scheduler/host/touch.h"
#include "scheduler/processor.h"
#include "scheduler/runtime.h"
#include "shim/cancel.h"
#include "shim/signal.h"
#include "shim/thread.h"
#include "shim/timer_target.h"

namespace pfiber::shim {

namespace {

constexpr uint64_t kAll = ~uint64_t{0};
constexpr uint32_t kLost = kAttendClaim | kAttendRetaken;

// Raised by the instruction itself: runs where it happened, whatever the fiber was doing.
bool is_fault(int signal, const siginfo_t* info) {
    return info->si_code > 0 && (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL ||
                                 signal == SIGFPE || signal == SIGTRAP || signal == SIGSYS);
}

// The default action of a watched signal, where the kernel called us instead: the kernel's turn.  A
// fault happens again when the handler returns; what somebody sent is sent again.
void perform_default(int signal, siginfo_t* info) {
    const host::KernelSigaction reset{};
    host::raw_sigaction(signal, &reset, nullptr);
    if (!is_fault(signal, info))
        host::raw_syscall(SYS_rt_tgsigqueueinfo, host::raw_getpid(), host::raw_gettid(), signal,
                          info);
}

// In the runtime for a few instructions, with everything blocked: no look at the attention word,
// which may switch, on either side, except for whoever is taking the processor (W5, C1).
class Held {
  public:
    explicit Held(Fiber* fiber) : fiber_(fiber) {
        fiber->depth++;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        wait_for_claim(fiber);
    }
    ~Held() {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        fiber_->depth--;
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

  private:
    Fiber* fiber_;
};

void call(const Action& action, int signal, siginfo_t* info, void* context) {
    if ((action.flags & SA_SIGINFO) != 0)
        reinterpret_cast<void (*)(int, siginfo_t*, void*)>(action.handler)(signal, info, context);
    else
        reinterpret_cast<void (*)(int)>(action.handler)(signal);
}

uint64_t mask_during(const Action& action, int signal, uint64_t mask) {
    mask |= action.mask;
    if ((action.flags & SA_NODEFER) == 0) mask |= signal_bit(signal);
    return mask & ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP));
}

// Everything is blocked, and sigreturn is next: what the fiber is to look at is looked at then.
void settle(Fiber* fiber, void* context) {
    const Thread* thread = thread_of(fiber);
    if (deliverable_to(fiber) != 0) fiber->attention.fetch_or(kAttendSignal);
    if (fiber->in_call) {
        // What arrived during the handler has taken back its notes; the call is not to begin anew.
        if (cancellation_is_due(fiber)) fiber->attention.fetch_or(kAttendCancel);
        if ((fiber->attention.load() & (kAttendSignal | kAttendCancel)) != 0)
            fiber->attends_in_call ? kick(fiber) : host::interrupt_blocking_syscall(context);
    } else if (!thread->is_delivering && !fiber->is_attending && fiber->attention.load() != 0) {
        host::raw_tgkill(host::raw_getpid(), host::raw_gettid(),
                         static_cast<int>(options().signal));
    }
}

// Real-time signals keep their order, also with what landed in the runtime.
bool is_behind_others(int signal) { return signal >= 32 && signals_are_noted(); }

// Not ours, or not now: everything stays blocked.
void pass_on(Fiber* fiber, int signal, siginfo_t* info, void* context, bool directed) {
    {
        Held held(fiber);
        Fiber* target = directed ? fiber : nullptr;
        const TimerSignal timer = directed ? TimerSignal::kFiber : timer_target(info, &target);
        if ((fiber->attention.load() & kLost) != 0 || (!directed && is_behind_others(signal)))
            note_signal(signal, info);
        else if (timer == TimerSignal::kFiber)
            send_to_fiber(target, signal, info);
        else if (timer == TimerSignal::kProcess)
            send_to_process(signal, info);
        // Else it would come back to this very worker.
        renew_mask(fiber->worker, context);
    }
    settle(fiber, context);
}

// Signals whose default action ends or stops the process, of those everybody blocks now.
bool some_act_by_default(uint64_t set) {
    for (; set != 0; set &= set - 1)
        if (is_default(__builtin_ctzll(set) + 1) && !is_ignored(__builtin_ctzll(set) + 1))
            return true;
    return false;
}

struct Interrupted {
    int32_t pinned, handlers_active;
    bool in_call, attends_in_call, is_delivering, is_attending;
};

// Everything blocked -> the handler's mask on the fiber, the process's in the kernel.
Interrupted begin_handler(Fiber* fiber, const Action& action, int signal, void* context,
                          bool may_move) {
    Thread* thread = thread_of(fiber);
    const uint64_t before = thread->mask;
    // What the program sees and may edit.  A call that waits with a mask of its own: its first
    // handler goes back to the mask from before the call.
    host::set_saved_mask(context, thread->has_suspend_restore ? thread->suspend_restore : before);
    thread->has_suspend_restore = false;
    thread->waiting_for.store(0);
    const Interrupted was{fiber->pinned,          thread->handlers_active, fiber->in_call,
                          fiber->attends_in_call, thread->is_delivering,   fiber->is_attending};
    const uint64_t mask = mask_during(action, signal, before);
    bool tell = false;
    {
        Held held(fiber);
        tell = some_act_by_default(change_mask(fiber, mask));
        hand_out(mask & ~before);
    }
    // What the frames below this one are at; a handler may leave them all by a jump.
    thread->is_delivering = fiber->is_attending = false;
    fiber->pinned = may_move ? 0 : 1;
    if (thread->handlers_active++ == 0) thread->mask_outside = host::saved_mask(context);
    thread->interrupts.handlers++;
    if ((action.flags & SA_RESTART) == 0) thread->interrupts.without_restart++;
    open_worker_mask(fiber->worker);
    fiber->attends_in_call = false;
    if (was.in_call) exit_call(fiber);
    if (tell) {
        RuntimeSection section(fiber);
        renew_other_masks(fiber->worker);
    }
    // As the kernel, which stacks the frames of all that may be delivered before the first
    // instruction of any handler.
    if (deliverable_to(fiber) != 0) deliver_pending(fiber);
    check_attention(fiber);
    return was;
}

void end_handler(Fiber* fiber, const Interrupted& was, bool attends, void* context) {
    Thread* thread = thread_of(fiber);
    if (was.in_call) enter_call(fiber);
    fiber->attends_in_call = was.attends_in_call;
    host::raw_sigprocmask(SIG_SETMASK, &kAll, nullptr);
    fiber->pinned = was.pinned;
    thread->handlers_active = was.handlers_active;
    thread->is_delivering = was.is_delivering;
    fiber->is_attending = was.is_attending;
    {
        Held held(fiber);
        const uint64_t unblockable = signal_bit(SIGKILL) | signal_bit(SIGSTOP);
        change_mask(fiber, host::saved_mask(context) & ~unblockable);
    }
    // Perhaps another worker than at the beginning.
    host::set_saved_mask(context, fiber->worker->kernel_mask);
    renew_mask(fiber->worker, context);
    if (attends) settle(fiber, context);
}

void run_handler(Fiber* fiber, int signal, siginfo_t* info, void* context, bool attends) {
    const int saved_errno = errno;
    Action action;
    {
        Held held(fiber);
        action = claim_action(signal);
    }
    if (!is_handler(action.handler)) return;  // changed between sending and now
    const Interrupted was = begin_handler(fiber, action, signal, context, attends);
    call(action, signal, info, context);
    end_handler(fiber, was, attends, context);
    errno = saved_errno;
}

bool is_own(const siginfo_t* info) { return info->si_pid == host::raw_getpid(); }

bool is_open(const Fiber* fiber, int signal) {
    const Thread* thread = thread_of(fiber);
    return (thread->mask & signal_bit(signal)) == 0 && !thread->takes_no_signals;
}

// Guards that the kernel keeps without a mapping of their own say otherwise than libc's.
void tell_guard(const Fiber* fiber, int signal, siginfo_t* info) {
    const uintptr_t offset = reinterpret_cast<uintptr_t>(info->si_addr) - fiber->slot.base;
    if (signal == SIGSEGV && info->si_code == SEGV_MAPERR && offset < fiber->slot.guard)
        info->si_code = SEGV_ACCERR;
}

// At the default action: of a timer for one thread that blocks the signal, who keeps it, or of a
// timer that is gone.
bool is_kept_for_target(int signal, const siginfo_t* info) {
    Fiber* target = nullptr;
    const TimerSignal timer = timer_target(info, &target);
    if (timer == TimerSignal::kFiber) {
        if (is_open(target, signal)) return false;
        note_signal(signal, info);
    }
    return timer != TimerSignal::kProcess;
}

// A thread that blocks the fault it causes ends the process, as the kernel has it.
void end_by_fault(int signal, siginfo_t* info) {
    const host::KernelSigaction by_default{};
    host::raw_sigaction(signal, &by_default, nullptr);
    if (signal != SIGTRAP && signal != SIGSYS) return;  // the instruction does it again
    const uint64_t bit = signal_bit(signal);
    host::raw_syscall(SYS_rt_tgsigqueueinfo, host::raw_getpid(), host::raw_gettid(), signal, info);
    host::raw_sigprocmask(SIG_UNBLOCK, &bit, nullptr);
}

// A thread that the kernel alone runs: masks are the kernel's.
void run_natively(int signal, siginfo_t* info, void* context) {
    const Action action = claim_action(signal);
    if (!is_handler(action.handler)) return;
    const uint64_t mask = mask_during(action, signal, host::saved_mask(context));
    host::raw_sigprocmask(SIG_SETMASK, &mask, nullptr);
    call(action, signal, info, context);
}

constexpr int kCarried = 0x7e01;  // no code of the kernel's: si_ptr has the siginfo_t meant
constexpr size_t kCompared = 48;  // of a siginfo_t: what the kernel and the program put there

// The one that deliver_pending() sent, not another of its number that came first; or one that libc
// itself sent to the kernel thread it runs on (abort).
bool is_raised(Fiber* fiber, int signal, siginfo_t* info) {
    const auto* raised = static_cast<const siginfo_t*>(fiber->raised_info);
    if (raised == nullptr) return false;
    const bool is_dropped = raised == &thread_of(fiber)->raised_on_return &&
                            raised->si_signo == signal && signal < 32;  // this one was there first
    if (memcmp(raised, info, kCompared) != 0 && !is_dropped) {
        // Beyond RLIMIT_SIGPENDING the kernel delivers standard signals without their data.
        if (raised->si_signo != signal || info->si_code != SI_USER || info->si_pid != 0)
            return false;
        *info = *raised;
    }
    fiber->raised_info = nullptr;
    return true;
}

// Whether a process-directed signal is for this fiber; *info becomes the one that is first in line.
bool is_for_us(Fiber* fiber, int signal, siginfo_t* info) {
    const Fiber* main = main_fiber();
    if (!is_open(fiber, signal) || is_behind_others(signal)) return false;
    // Its kernel thread runs nothing else, so the kernel chose the fiber, as it does for timers of
    // the process; main may get no CPU before the handler has run.
    const bool is_chosen = fiber->runs_beside;
    if (fiber != main && !is_chosen && main != nullptr && is_open(main, signal)) return false;
    Held held(fiber);
    Fiber* target = nullptr;
    if (timer_target(info, &target) != TimerSignal::kProcess) return false;
    take_queued_before(signal, info);
    return true;
}

}  // namespace

// Leaves through sigreturn with the worker's mask.
PFIBER_SIGNAL_TEXT void signal_entry(int signal, siginfo_t* info, void* context) {
    host::interrupt_execute(context);
    const bool fault = is_fault(signal, info);
    if (fault && host::recover_touch(context)) return;
    if (is_watched(signal) && is_default(signal)) {
        if (fault || !is_kept_for_target(signal, info)) perform_default(signal, info);
        return;
    }
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) {
        run_natively(signal, info, context);
        return;
    }
    if (fault) {
        if (!is_open(fiber, signal)) {
            end_by_fault(signal, info);
            return;
        }
        tell_guard(fiber, signal, info);
        const int32_t depth = fiber->depth;
        fiber->depth = 0;
        run_handler(fiber, signal, info, context, depth == 0);
        fiber->depth = depth;
        return;
    }
    if (fiber->depth > 0 || fiber->is_scheduler) {
        if ((signal == SIGPIPE || signal == SIGXFSZ) && !fiber->is_scheduler && is_own(info)) {
            // The writer's own, from a call made in the runtime: it is delivered when that is left.
            fiber->noted_own_signal = signal;
            fiber->attention.fetch_or(kAttendSignal);
        } else {
            note_signal(signal, info);
            // When everybody blocks it the kernel is to keep it: not to give it to this thread, the
            // monitor perhaps, again and again.
            if (fiber->worker != nullptr) renew_mask(fiber->worker, context);
        }
        return;
    }
    const bool raised = is_raised(fiber, signal, info);
    // A write to a file beyond its limit is called outside the runtime.
    const bool directed =
        raised || ((info->si_code == SI_TKILL || signal == SIGXFSZ) && is_own(info));
    const bool another_comes = fiber->raised_info != nullptr;
    if (raised ||
        (!another_comes && (directed ? is_open(fiber, signal) : is_for_us(fiber, signal, info))))
        run_handler(fiber, signal, info, context, true);
    else
        pass_on(fiber, signal, info, context, directed);
}

bool raise_on_return(Fiber* fiber, const void* context) {
    Thread* thread = thread_of(fiber);
    if (thread->is_delivering || fiber->noted_own_signal != 0 || signals_are_noted()) return false;
    Held held(fiber);
    // One number: of several the kernel would let the lowest begin last.
    const uint64_t bit = deliverable_to(fiber);
    if (bit == 0 || (bit & (bit - 1)) != 0 || (fiber->attention.load() & kLost) != 0) return false;
    const int signal = __builtin_ctzll(bit) + 1;
    uint64_t in_kernel = 0;
    host::raw_syscall(SYS_rt_sigpending, &in_kernel, sizeof in_kernel);
    if (!has_handler(signal) || signal == static_cast<int>(options().signal) ||
        ((in_kernel | host::saved_mask(context)) & bit) != 0)
        return false;
    fiber->attention.fetch_and(~uint32_t{kAttendSignal});
    siginfo_t* info = &thread->raised_on_return;
    if (!take_deliverable(fiber, 0, info)) return false;
    fiber->raised_info = info;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (host::raw_syscall(SYS_rt_tgsigqueueinfo, host::raw_getpid(), host::raw_gettid(),
                          info->si_signo, info) == 0)
        return true;
    fiber->raised_info = nullptr;
    send_to_fiber(fiber, info->si_signo, info);
    return false;
}

// The preemption signal's number, not a kick.
void entry_of_preemption_signal(Fiber* fiber, siginfo_t* info, void* context) {
    if (fiber != nullptr && fiber->raised_info != nullptr && info->si_code == kCarried &&
        memcmp(fiber->raised_info, info, kCompared) == 0) {
        *info = *static_cast<const siginfo_t*>(info->si_ptr);
        fiber->raised_info = nullptr;
        run_handler(fiber, info->si_signo, info, context, true);
        return;
    }
    if (has_handler(info->si_signo)) signal_entry(info->si_signo, info, context);
}

namespace {

// RLIMIT_SIGPENDING is reached, which holds for real-time signals: the preemption signal carries
// it.
long raise_carried(Fiber* fiber, siginfo_t* info) {
    siginfo_t carrier;
    memset(&carrier, 0, sizeof carrier);
    carrier.si_signo = static_cast<int>(options().signal);
    carrier.si_code = kCarried;
    carrier.si_ptr = info;
    fiber->raised_info = &carrier;
    const long rc = host::raw_syscall(SYS_rt_tgsigqueueinfo, host::raw_getpid(), host::raw_gettid(),
                                      carrier.si_signo, &carrier);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    // It is delivered before the call returns, unless the kernel dropped it for a kick that was
    // pending already.
    return rc == 0 && fiber->raised_info == &carrier ? -EAGAIN : rc;
}

std::atomic<bool> reported_no_frame{false};

// A filter forbids the call that would give the handler a frame of the kernel's.
void run_without_frame(Fiber* fiber, siginfo_t* info, long rc) {
    host::warn_once(reported_no_frame,
                    "rt_tgsigqueueinfo is refused (error %ld); handlers get an empty context", -rc);
    fiber->raised_info = nullptr;
    host::raw_sigprocmask(SIG_SETMASK, &kAll, nullptr);
    host::EmptyContext context(fiber->worker->kernel_mask);
    run_handler(fiber, info->si_signo, info, context.get(), true);
    const uint64_t mask = host::saved_mask(context.get());
    host::raw_sigprocmask(SIG_SETMASK, &mask, nullptr);
}

// The kernel keeps one of a number pending for a thread: beside a kick or a timer's fire that is
// there already it drops a signal of the preemption signal's own number and says nothing.  What was
// there is delivered before the call returns, so the next try finds room, unless another has come.
long raise_at_worker(Fiber* fiber, siginfo_t* info) {
    constexpr int kTries = 1000;
    const bool may_be_dropped = info->si_signo == static_cast<int>(options().signal);
    for (int i = 0; i < kTries; i++) {
        const long rc = host::raw_syscall(SYS_rt_tgsigqueueinfo, host::raw_getpid(),
                                          host::raw_gettid(), info->si_signo, info);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if (rc != 0 || !may_be_dropped || fiber->raised_info != info) return rc;
    }
    return -EAGAIN;
}

// At our own kernel thread, so that the handler gets a real frame.  Until it is entered nothing
// else runs on this fiber and nothing moves it: other signals are queued, kicks left to our caller.
void raise_here(Fiber* fiber, siginfo_t* info) {
    const uint64_t bit = signal_bit(info->si_signo);
    fiber->raised_info = info;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    // Only what another worker's change has not reached yet is blocked here: this fiber opened it.
    const bool blocked = (fiber->worker->kernel_mask & bit) != 0;
    if (blocked) host::raw_sigprocmask(SIG_UNBLOCK, &bit, nullptr);
    long rc = raise_at_worker(fiber, info);
    if (rc == -EAGAIN) rc = raise_carried(fiber, info);
    if (rc != 0) run_without_frame(fiber, info, rc);
    fiber->raised_info = nullptr;
    if (blocked) host::raw_sigprocmask(SIG_SETMASK, &fiber->worker->kernel_mask, nullptr);
}

void note_own_signal(Fiber* fiber) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = fiber->noted_own_signal;
    info.si_pid = host::raw_getpid();
    fiber->noted_own_signal = 0;
    send_to_fiber(fiber, info.si_signo, &info);
}

}  // namespace

void deliver_pending(Fiber* fiber, uint64_t of_main) {
    if (fiber->in_call) {  // looked at again when the call is left
        fiber->attention.fetch_or(kAttendSignal);
        return;
    }
    Thread* thread = thread_of(fiber);
    if (thread->is_delivering) {  // below us on this stack: it is told, frames do not pile up
        thread->deliver_again = true;
        return;
    }
    if (fiber->noted_own_signal != 0) note_own_signal(fiber);
    do {
        thread->deliver_again = false;
        thread->is_delivering = true;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        siginfo_t info;
        while (take_deliverable(fiber, of_main, &info)) {
            if (is_ignored(info.si_signo)) continue;
            if (is_default(info.si_signo))
                send_to_fiber(fiber, info.si_signo, &info);
            else
                raise_here(fiber, &info);
        }
        thread->is_delivering = false;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    } while (thread->deliver_again);
}

}  // namespace pfiber::shim
