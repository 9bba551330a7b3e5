// Preemption and kicks: one signal (PFIBER_SIGNAL, SIGURG) that makes a worker look at the
// attention word of the fiber it runs.
//
// A timer on each worker's CPU clock fires every few milliseconds; one that finds the same slice
// used up while somebody waits asks for preemption.  It never fires in a sleeping system call, so
// the program sees no EINTR. The handler switches on the fiber's own stack: identity moves with the
// fiber, so one that is preempted inside malloc is like a descheduled kernel thread.  Refused (and
// left to the next hook):
//   P1 in the runtime (depth), P2 while the layer above has it pinned,
//   P3 in libc or ld.so (a lock holder there would make others block in the kernel), P4 on a stack
//   that is not the fiber's, P5 in the tail of a handler, P6 in a call (no processor to give).
// Programs run code on stacks with no room for a handler's frame (Erlang's processes) and give each
// thread an alternate stack then: the handler starts there, and moves its frame to the fiber's
// stack when it finds that interrupted and anything to do. The handler runs with everything
// blocked, and opens the mask only while it attends: what arrives after that finds its frame gone
// (S8), so that a stream of signals piles no frames up.
#include <errno.h>
#include <string.h>
#include <time.h>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/call_filter.h"
#include "scheduler/host/libc.h"
#include "scheduler/host/report.h"
#include "scheduler/host/signal.h"
#include "scheduler/cpu_time.h"
#include "scheduler/scheduler.h"

namespace pfiber {

namespace {

std::atomic<bool> reported_no_timer{false};
std::atomic<Fiber*> told_last[256]{};  // whose alternate stack has this hash
std::atomic<uint32_t> chaos_signals{0};
bool has_handler = false;

// Varnish gives all of its threads the same one, for handlers that end the process: frames of two
// workers would overwrite each other there.  Who comes second of two at the same time sees the
// other.
bool alternate_stack_is_shared(Fiber* fiber, uintptr_t low) {
    fiber->alternate_stack_told.store(low);
    const Fiber* other = told_last[low * 0x9e3779b97f4a7c15u >> 56].exchange(fiber);
    if (other == nullptr || other == fiber || other->alternate_stack_told.load() != low)
        return false;
    const FiberState state = other->state.load();
    return state != FiberState::kFinished && state != FiberState::kFree;
}

// The kernel looks at CPU timers once a tick, 4 ms on most systems.
int64_t timer_period_ns() {
    constexpr int64_t kTickNs = 4000000;
    const int64_t half = options().slice_ms * 1000000 / 2;
    return half < kTickNs ? half : kTickNs;
}

// The slice shrinks with the number of fibers that wait, down to two fifths: programs that spin for
// another thread are tuned to the kernel's 3 to 4 ms.
int64_t slice_ns(Processor* processor) {
    const int64_t whole = options().slice_ms * 1000000;
    const int64_t waiting = static_cast<int64_t>(processor->queue.size()) +
                            (processor->queue.has_next() ? 1 : 0) +
                            g_scheduler.global.size.load(std::memory_order_relaxed);
    const int64_t share = whole / (waiting + 1);
    return share > whole * 2 / 5 ? share : whole * 2 / 5;
}

void ask_to_give_way(Fiber* fiber) {
    COUNT(preemptions_asked);
    fiber->attention.fetch_or(kAttendPreempt, std::memory_order_relaxed);
}

// At a fire of the slice's timer: that of the turn which `processor` is in is used up.
bool slice_is_over(Worker* worker, Processor* processor) {
    const uint32_t tick = processor->schedule_tick.load(std::memory_order_relaxed);
    const int64_t cpu = host::clock_ns(CLOCK_THREAD_CPUTIME_ID);
    if (tick != worker->timer_tick) {
        worker->timer_tick = tick;
        worker->slice_start_ns = cpu;
    }
    // On average the fiber ran half a period before the first fire that saw it.
    return cpu - worker->slice_start_ns + timer_period_ns() / 2 >= slice_ns(processor);
}

// On the worker, in its handler, in the runtime.
void note_timer_fire(Fiber* fiber, const void* context) {
    Worker* worker = fiber->worker;
    if (__builtin_expect(worker->is_lent, 0) && rescue_tick(fiber)) return;
    Processor* processor = worker->processor;
    if (processor == nullptr || fiber->in_call) return;
    if (g_scheduler.monitor_asleep.load(std::memory_order_relaxed) != 0) wake_monitor();
    const bool is_over = slice_is_over(worker, processor);
    if (!somebody_waits(fiber)) return;
    if (is_over)
        ask_to_give_way(fiber);
    else
        busy_wait_suspect(worker, context);
}

// The fire found the fiber in the runtime, where fibers that hand over to each other are nearly all
// the time.  It gives way when it leaves; one that parks first, when it runs again.
void note_timer_fire_inside(Fiber* fiber) {
    Worker* worker = fiber->worker;
    Processor* processor = worker->processor;
    if (processor != nullptr && !worker->is_lent && !fiber->in_call &&
        slice_is_over(worker, processor) && somebody_waits(fiber))
        ask_to_give_way(fiber);
}

void note_fire(Fiber* fiber, const siginfo_t* info, const void* context) {
    if (info->si_value.sival_int != kBusyTimerMark)
        note_timer_fire(fiber, context);
    else if (!fiber->in_call && busy_wait_look(fiber, context))
        ask_to_give_way(fiber);
}

bool is_on_own_stack(const Fiber* fiber, const void* context) {
    const unsigned long stack = host::stack_pointer(context);
    return stack > fiber->stack_low + 8192 &&
           (stack <= fiber->stack_top || fiber == main_fiber()) &&
           stack - fiber->alternate_stack >= fiber->alternate_stack_size;
}

bool may_yield_here(Fiber* fiber, const void* context, bool in_libc_too = false) {
    const unsigned long pc = host::program_counter(context);
    return !fiber->in_call && fiber->pinned == 0 &&
           (in_libc_too || !host::is_in_libc_or_loader(pc)) && !host::in_signal_text(pc) &&
           is_on_own_stack(fiber, context);
}

// With RLIMIT_SIGPENDING used up the kernel delivers a signal and drops what comes with it.
bool lost_its_sender(const siginfo_t* info) {
    return info->si_code == SI_USER && info->si_pid == 0 && info->si_uid == 0;
}

// Ours are the timer's and tgkill's from this process; a real SIGURG is the program's.
bool is_ours(const siginfo_t* info) {
    return info->si_code == SI_TIMER ||
           (info->si_code == SI_TKILL && info->si_pid == host::raw_getpid());
}

// Or one that the layer above re-raises at this very moment.
bool is_raised(const Fiber* fiber, const siginfo_t* info) {
    constexpr size_t kCompared = 48;  // what the kernel and the program put there
    return fiber != nullptr && fiber->raised_info != nullptr &&
           memcmp(fiber->raised_info, info, kCompared) == 0;
}

constexpr uint32_t kLost = kAttendClaim | kAttendRetaken;
constexpr uint32_t kInterrupts = kAttendSignal | kAttendCancel;

bool is_interrupted(Fiber* fiber) {
    const uint32_t attention = fiber->attention.load(std::memory_order_acquire);
    return (attention & kInterrupts) != 0 && (attention & kLost) == 0 &&
           runtime_callbacks.attend != nullptr;
}

// It runs on after a call that no hook saw, or is in it, without a processor and perhaps without a
// hook in sight: signals for it cannot wait for one, not even in libc, where it may hold a lock.
bool may_retake_here(Fiber* fiber, const void* context, uint32_t attention) {
    return (attention & kLost) == kAttendRetaken &&
           may_yield_here(fiber, context, (attention & kInterrupts) != 0);
}

// Whether attending would do anything but come back here.
bool has_to_attend(Fiber* fiber, const void* context) {
    const uint32_t attention = fiber->attention.load(std::memory_order_acquire);
    if ((attention & kLost) != 0) return may_retake_here(fiber, context, attention);
    // In our stub the call returns first, and the fiber attends when it leaves.  Elsewhere libc
    // waits by itself (pclose) and would go on doing so.
    if (fiber->in_call)
        return (attention & kAttendSignal) != 0 && !fiber->attends_in_call &&
               runtime_callbacks.attend != nullptr && !host::in_blocking_syscall(context);
    return ((attention & kInterrupts) != 0 && runtime_callbacks.attend != nullptr) ||
           ((attention & kAttendPreempt) != 0 && may_yield_here(fiber, context));
}

// A handler of the program is to see in its frame what the program was at, and may change it there.
bool is_left_to_kernel(Fiber* fiber, const void* context) {
    constexpr uint32_t kOthers = kLost | kAttendCancel | kAttendState;
    const uint32_t attention = fiber->attention.load(std::memory_order_acquire);
    return (attention & (kOthers | kAttendSignal)) == kAttendSignal && !fiber->in_call &&
           runtime_callbacks.raise_on_return != nullptr &&
           runtime_callbacks.raise_on_return(fiber, context);
}

// In the runtime, with the worker's mask, on whose stack `context` was interrupted.
PFIBER_SIGNAL_TEXT void attend_in_handler(Fiber* fiber, void* context) {
    uint32_t attention = fiber->attention.load(std::memory_order_acquire);
    if (may_retake_here(fiber, context, attention)) {
        runtime_entry_slow(fiber);
        attention = fiber->attention.load(std::memory_order_acquire);
    }
    if ((attention & kLost) != 0) return;
    if (fiber->in_call) {
        fiber->depth = 0;
        exit_call(fiber);  // attends
        enter_call(fiber);
        fiber->depth = 1;
        fiber->attention.fetch_or(attention & kAttendCancel);  // it is still to end the next wait
        return;
    }
    if ((attention & kAttendPreempt) != 0 && may_yield_here(fiber, context)) {
        fiber->attention.fetch_and(~uint32_t{kAttendPreempt});
        if (somebody_waits(fiber)) yield_preempted(fiber);
        return;  // what came meanwhile: our caller looks again
    }
    attention = fiber->attention.load(std::memory_order_acquire);
    // Binding may move the fiber.
    const uint32_t above =
        may_yield_here(fiber, context) ? kInterrupts | kAttendState : uint32_t{kInterrupts};
    if ((attention & above) != 0 && runtime_callbacks.attend != nullptr) {
        attention &= above;
        fiber->attention.fetch_and(~attention);
        fiber->depth = 0;
        runtime_callbacks.attend(fiber, attention);
        fiber->depth = 1;
    }
}

// The call is ended, or attends by itself, with the worker's mask.
PFIBER_SIGNAL_TEXT void end_call(Fiber* fiber, void* context) {
    constexpr uint64_t kAll = ~uint64_t{0};
    if (!fiber->attends_in_call) {
        host::interrupt_blocking_syscall(context);
        return;
    }
    host::raw_sigprocmask(SIG_SETMASK, &fiber->worker->kernel_mask, nullptr);
    runtime_callbacks.attend_in_call(fiber, context);
    host::raw_sigprocmask(SIG_SETMASK, &kAll, nullptr);
    host::set_saved_mask(context, fiber->worker->kernel_mask);
}

// The end of the preemption handler, on the fiber's stack wherever there is anything to do.
PFIBER_SIGNAL_TEXT void attend_on_stack(int saved_errno, siginfo_t*, void* context) {
    Fiber* fiber = current_fiber();
    // A frame of this function below us, with the mask open, looks again; so does whoever sends the
    // fiber a signal at this moment, which comes first.
    while (!fiber->is_attending && fiber->raised_info == nullptr && has_to_attend(fiber, context)) {
        if (is_left_to_kernel(fiber, context)) break;
        constexpr uint64_t kAll = ~uint64_t{0};
        fiber->is_attending = true;
        fiber->depth = 1;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        host::raw_sigprocmask(SIG_SETMASK, &fiber->worker->kernel_mask, nullptr);
        attend_in_handler(fiber, context);
        host::raw_sigprocmask(SIG_SETMASK, &kAll, nullptr);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        fiber->depth = 0;
        fiber->is_attending = false;
        // Perhaps on another worker by now: sigreturn is to leave that thread's mask as it is.
        host::set_saved_mask(context, fiber->worker->kernel_mask);
    }
    if (is_interrupted(fiber)) end_call(fiber, context);
    errno = saved_errno;
}

// The program's alternate stacks are for its own handlers: small, perhaps.
bool is_on_alternate_stack(const Fiber* fiber, const void* context) {
    const auto at = reinterpret_cast<uintptr_t>(context);
    return at - fiber->alternate_stack < fiber->alternate_stack_size;
}

PFIBER_SIGNAL_TEXT void on_preempt(int signal, siginfo_t* info, void* context) {
    host::interrupt_execute(context);
    Fiber* fiber = current_fiber();
    if ((!is_ours(info) || is_raised(fiber, info)) && runtime_callbacks.foreign_signal != nullptr) {
        runtime_callbacks.foreign_signal(signal, info, context);
        if (!lost_its_sender(info)) return;
    }
    if (runtime_callbacks.kicked != nullptr) runtime_callbacks.kicked(context);
    if (info->si_code == SI_TIMER && fiber != nullptr && !g_cpu_accounting) cpu_time_tick(fiber);
    if (fiber == nullptr || fiber->is_scheduler) return;
    if (fiber->depth != 0) {
        if (info->si_code == SI_TIMER && info->si_value.sival_int != kBusyTimerMark)
            note_timer_fire_inside(fiber);
        return;
    }
    const int saved_errno = errno;
    if (info->si_code == SI_TIMER) {
        fiber->depth = 1;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if ((fiber->attention.load(std::memory_order_acquire) & kLost) == 0)
            note_fire(fiber, info, context);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        fiber->depth = 0;
    }
    if (__builtin_expect(LinuxPlatform::chaos_seed != 0, 0) && !fiber->in_call &&
        (chaos_signals.fetch_add(1, std::memory_order_relaxed) & 1) != 0)
        fiber->attention.fetch_or(kAttendPreempt);  // tests: every other signal of ours preempts
    if (is_on_alternate_stack(fiber, context) && is_on_own_stack(fiber, context) &&
        (is_interrupted(fiber) || has_to_attend(fiber, context)))
        host::continue_on_interrupted_stack(info, context, attend_on_stack, saved_errno);
    attend_on_stack(saved_errno, info, context);
}

}  // namespace

host::KernelSigaction preempt_displaced_action;

bool preempt_install() {
    host::raw_sigaction(static_cast<int>(options().signal), nullptr, &preempt_displaced_action);
    const long rc = host::install_handler(static_cast<int>(options().signal), on_preempt,
                                          SA_RESTART | SA_ONSTACK, ~uint64_t{0});
    has_handler = rc == 0;
    g_start_error = -rc;
    return has_handler;
}

void preempt_uninstall() {
    preempt_worker_ending(current_fiber()->worker);
    if (has_handler)
        host::raw_sigaction(static_cast<int>(options().signal), &preempt_displaced_action, nullptr);
    has_handler = false;
}

void alternate_stack_told(Fiber* fiber, uintptr_t low, size_t size) {
    constexpr size_t kHandler = 2048;
    const bool is_shared = low != 0 && alternate_stack_is_shared(fiber, low);
    if (low == 0) fiber->alternate_stack_told.store(0);
    if (low == 0 || (!is_shared && size >= host::signal_frame_size() + kHandler)) return;
    host::install_handler(static_cast<int>(options().signal), on_preempt, SA_RESTART, ~uint64_t{0});
}

void preempt_worker_started(Worker* worker) {
    worker->cpu_timer = -1;
    busy_wait_worker_started(worker);
    const Preempt mode = options().preempt;
    if (mode == Preempt::kOff || mode == Preempt::kTgkill || !has_handler) return;
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = static_cast<int>(options().signal);
    event._sigev_un._tid = host::raw_gettid();
    int timer = -1;
    long rc = host::optional_syscall(host::kTimerCreate, SYS_timer_create, CLOCK_THREAD_CPUTIME_ID,
                                     &event, &timer);
    if (rc == 0) {
        const int64_t period_ns = timer_period_ns();
        itimerspec period{};
        period.it_interval = period.it_value = {period_ns / 1000000000, period_ns % 1000000000};
        rc = host::raw_syscall(SYS_timer_settime, timer, 0, &period, nullptr);
    }
    worker->cpu_timer = timer;
    if (rc == 0) return;
    preempt_worker_ending(worker);
    host::warn_once(
        reported_no_timer, "no CPU-time timer (error %ld: RLIMIT_SIGPENDING or a filter); %s", -rc,
        mode == Preempt::kTimer ? "PFIBER_PREEMPT=timer: long-running fibers are not preempted"
                                : "the monitor's signals preempt long-running fibers instead");
}

void preempt_worker_ending(Worker* worker) {
    busy_wait_worker_ending(worker);
    if (worker->cpu_timer >= 0) host::raw_syscall(SYS_timer_delete, worker->cpu_timer);
    worker->cpu_timer = -1;
}

void kick(Fiber* fiber) {
    Worker* worker = fiber->worker;
    const FiberState state = fiber->state.load();
    if (worker == nullptr || !has_handler ||
        (state != FiberState::kRunning && state != FiberState::kInCall))
        return;
    const int tid = worker->tid.load();
    if (tid > 0) host::raw_tgkill(host::raw_getpid(), tid, static_cast<int>(options().signal));
}

}  // namespace pfiber
