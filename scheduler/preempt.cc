// Preemption and kicks: one signal (PFIBER_SIGNAL, SIGURG) that makes a worker look at the attention
// word of the fiber it runs.
//
// A timer on each worker's CPU clock fires every half slice; two fires in one slice while somebody
// waits ask for preemption.  It never fires in a sleeping system call, so the program sees no EINTR.
// The handler switches on the fiber's own stack: identity moves with the fiber, so one that is
// preempted inside malloc is like a descheduled kernel thread.  Refused (and left to the next hook):
//   P1 in the runtime (depth), P2 inside a program's signal handler, P3 in libc or ld.so (a lock
//   holder there would make others block in the kernel), P4 on a stack that is not the fiber's,
//   P5 in the tail of a handler, P6 in a call (no processor to give).
#include <errno.h>
#include <time.h>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/libc.h"
#include "scheduler/host/report.h"
#include "scheduler/host/signal.h"
#include "scheduler/scheduler.h"

namespace pfiber {

namespace {

std::atomic<bool> reported_no_timer{false};

// On the worker, in its handler, in the runtime.
void note_timer_fire(Fiber* fiber) {
    Worker* worker = fiber->worker;
    Processor* processor = worker->processor;
    if (processor == nullptr || fiber->in_call) return;
    if (g_scheduler.monitor_asleep.load(std::memory_order_relaxed) != 0) wake_monitor();
    const uint32_t tick = processor->schedule_tick.load(std::memory_order_relaxed);
    if (tick != worker->timer_tick) {
        worker->timer_tick = tick;
        worker->timer_fires = 0;
    }
    if (++worker->timer_fires < 2 || !somebody_waits(fiber)) return;
    COUNT(preemptions_asked);
    fiber->attention.fetch_or(kAttendPreempt, std::memory_order_relaxed);
}

// A handler that siglongjmp left: the interrupted code stands above its frame again.
bool in_handler(Fiber* fiber, unsigned long stack) {
    if (fiber->handler_depth == 0) return false;
    const bool frame_on_fiber =
        fiber->handler_frame > fiber->stack_low && fiber->handler_frame <= fiber->stack_top;
    if (!frame_on_fiber || stack <= fiber->handler_frame) return true;
    fiber->handler_depth = 0;
    return false;
}

bool may_yield_here(Fiber* fiber, const void* context) {
    const unsigned long stack = host::stack_pointer(context);
    const unsigned long pc = host::program_counter(context);
    return !fiber->in_call && !in_handler(fiber, stack) && !host::is_in_libc_or_loader(pc) &&
           !host::in_signal_text(pc) && stack > fiber->stack_low + 8192 &&
           (stack <= fiber->stack_top || fiber == main_fiber());
}

// Ours are the timer's and tgkill's from this process; a real SIGURG is the program's.
bool is_ours(const siginfo_t* info) {
    return info->si_code == SI_TIMER ||
           (info->si_code == SI_TKILL && info->si_pid == host::raw_getpid());
}

PFIBER_SIGNAL_TEXT void on_preempt(int signal, siginfo_t* info, void* context) {
    Fiber* fiber = current_fiber();
    const bool is_raised = fiber != nullptr && fiber->raised_signal == signal;
    if ((!is_ours(info) || is_raised) && runtime_callbacks.foreign_signal != nullptr) {
        runtime_callbacks.foreign_signal(signal, info, context);
        return;
    }
    if (runtime_callbacks.kicked != nullptr) runtime_callbacks.kicked(context);
    if (fiber == nullptr || fiber->is_scheduler || fiber->depth != 0) return;
    const int saved_errno = errno;
    fiber->depth = 1;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    constexpr uint32_t kLost = kAttendClaim | kAttendRetaken;
    uint32_t attention = fiber->attention.load(std::memory_order_acquire);
    if ((attention & kLost) == 0) {
        if (info->si_code == SI_TIMER) note_timer_fire(fiber);
        attention = fiber->attention.load(std::memory_order_acquire);
        if ((attention & (kAttendSignal | kAttendCancel)) != 0)
            host::interrupt_blocking_syscall(context);
        if ((attention & kAttendPreempt) != 0 && may_yield_here(fiber, context)) {
            fiber->attention.fetch_and(~uint32_t{kAttendPreempt});
            if (somebody_waits(fiber)) yield_preempted(fiber);
        }
        attention = fiber->attention.load(std::memory_order_acquire);
        // In a call the interrupted stub returns first, and the fiber attends when it leaves.
        if ((attention & (kAttendSignal | kAttendCancel)) != 0 && !fiber->in_call &&
            runtime_callbacks.attend != nullptr) {
            fiber->attention.fetch_and(~(attention & (kAttendSignal | kAttendCancel)));
            fiber->depth = 0;
            runtime_callbacks.attend(fiber, attention);
            fiber->depth = 1;
        }
        // Perhaps another worker's by now: sigreturn is to leave this thread's mask as it is.
        if (fiber->worker != nullptr) host::set_saved_mask(context, fiber->worker->kernel_mask);
    }
    errno = saved_errno;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    fiber->depth = 0;
}

}  // namespace

host::KernelSigaction preempt_displaced_action;

void preempt_install() {
    host::raw_sigaction(static_cast<int>(options().signal), nullptr, &preempt_displaced_action);
    const long rc = host::install_handler(static_cast<int>(options().signal), on_preempt,
                                          SA_RESTART | SA_NODEFER, 0);
    if (rc != 0) host::warn("no handler for signal %d: fibers are not preempted",
                            static_cast<int>(options().signal));
}

void preempt_worker_started(Worker* worker) {
    worker->cpu_timer = -1;
    worker->alternate_stack = 0;
    const Preempt mode = options().preempt;
    if (mode == Preempt::kOff || mode == Preempt::kTgkill) return;
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = static_cast<int>(options().signal);
    event._sigev_un._tid = host::raw_gettid();
    int timer = -1;
    long rc = host::raw_syscall(SYS_timer_create, CLOCK_THREAD_CPUTIME_ID, &event, &timer);
    if (rc == 0) {
        const int64_t half = options().slice_ms * 1000000 / 2;
        itimerspec period{};
        period.it_interval = period.it_value = {half / 1000000000, half % 1000000000};
        rc = host::raw_syscall(SYS_timer_settime, timer, 0, &period, nullptr);
    }
    if (rc != 0) {
        host::warn_once(reported_no_timer,
                        "no CPU-time timer (error %ld); long-running fibers are not preempted, "
                        "PFIBER_PREEMPT=tgkill works without it",
                        -rc);
        return;
    }
    worker->cpu_timer = timer;
}

void preempt_worker_ending(Worker* worker) {
    if (worker->cpu_timer >= 0) host::raw_syscall(SYS_timer_delete, worker->cpu_timer);
    worker->cpu_timer = -1;
}

void kick(Fiber* fiber) {
    Worker* worker = fiber->worker;
    const FiberState state = fiber->state.load();
    if (worker == nullptr || (state != FiberState::kRunning && state != FiberState::kInCall)) return;
    const int tid = worker->tid.load();
    if (tid > 0) host::raw_tgkill(host::raw_getpid(), tid, static_cast<int>(options().signal));
}

}  // namespace pfiber
