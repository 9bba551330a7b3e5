// See libc_sync.h.
#include "shim/libc_sync.h"

#include <sys/syscall.h>
#include <time.h>

#include <atomic>

#include "scheduler/base/options.h"
#include "scheduler/host/call_filter.h"
#include "scheduler/host/signal.h"
#include "shim/interrupt.h"
#include "shim/signal.h"

namespace pfiber::shim {

namespace {

LibcSync table;
std::atomic<bool> is_complete{false};

}  // namespace

// Two threads may both fill it in: they store the same values.
const LibcSync& libc_sync() {
    if (__builtin_expect(!is_complete.load(std::memory_order_acquire), 0)) {
#define X(name) table.name = reinterpret_cast<decltype(table.name)>(host::libc_symbol(#name));
        PFIBER_LIBC_SYNC(X)
#undef X
        is_complete.store(true, std::memory_order_release);
    }
    return table;
}

// ---- signals and cancellation during libc's waits
//
// A kick's handler runs on top of libc's frames.  Handlers of the program may run anywhere there.
// A cancellation may unwind only where libc expects it: in the system call that waits for the
// signal of a condition variable, for which libc has registered its clean-up.  A kick that comes a
// few instructions earlier finds it elsewhere; a timer then kicks again until the call is over.

namespace {

constexpr uint32_t kInterrupts = kAttendSignal | kAttendCancel;
constexpr int64_t kLongestDelayNs = 1000000000;

__thread LibcWait* t_wait __attribute__((tls_model("initial-exec")));  // of the fiber

}  // namespace

LibcWait::LibcWait(const void* cancellable) : fiber_(current_fiber()), cancellable_(cancellable) {
    if (fiber_ == nullptr) return;
    outer_ = t_wait;
    for (;;) {
        begin();
        const bool is_cancelled = may_be_cancelled();
        if (!is_cancelled && (fiber_->attention.load() & kInterrupts) == 0) return;
        end();
        if (is_cancelled) cancellation_point(fiber_);
    }
}

LibcWait::LibcWait(Own own, bool is_restartable)
    : fiber_(current_fiber()), own_(own), is_restartable_(is_restartable) {
    if (fiber_ == nullptr) return;
    outer_ = t_wait;
    for (;;) {
        begin();
        if (may_be_cancelled()) {
            fiber_->attention.fetch_or(kAttendCancel);
            look_again_later();
        }
        if ((fiber_->attention.load() & kAttendSignal) == 0) return;
        end();
    }
}

LibcWait::~LibcWait() {
    if (fiber_ == nullptr) return;
    if (timer_ >= 0) host::raw_syscall(SYS_timer_delete, timer_);
    if (fiber_->attends_in_call) end();
    t_wait = outer_;
    handle_signals_before_end(fiber_);
}

void LibcWait::begin() {
    enter_blocking_call(fiber_);
    t_wait = this;
    fiber_->attends_in_call = true;
}

void LibcWait::end() {
    fiber_->attends_in_call = false;
    t_wait = outer_;
    exit_call(fiber_);  // handlers run
}

bool LibcWait::may_be_cancelled() const {
    return (cancellable_ != nullptr || own_ == Own::kWaitsCancellably) &&
           cancellation_is_due(fiber_);
}

bool LibcWait::waits(const void* context) const {
    const auto first = reinterpret_cast<uintptr_t>(cancellable_);
    uintptr_t word = 0;
    if (!host::is_at_libc_call(context, SYS_futex, &word)) return false;
    return own_ == Own::kNo
               ? word == first || word == first + sizeof(uint32_t)
               : word >= host::stack_pointer(context) && word < reinterpret_cast<uintptr_t>(this);
}

bool LibcWait::waits_cancellably(const void* context) const {
    return own_ != Own::kWaits && waits(context);
}

// After a kick.  The kernel ends a wait with a time limit for any signal, ours included.
void LibcWait::answer_handlers(InterruptMark before, void* context) const {
    if (own_ == Own::kNo || !waits(context)) return;
    if (interrupted_since(fiber_, before, is_restartable_))
        host::end_libc_call(context);
    else
        host::resume_libc_call(context, SYS_futex);
}

// The timer is one of the kernel thread that the fiber is on now.
void LibcWait::look_again_later() {
    if (timer_ >= 0) host::raw_syscall(SYS_timer_delete, timer_);
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = static_cast<int>(options().signal);
    event._sigev_un._tid = host::raw_gettid();
    timer_ = -1;
    if (host::is_error(host::optional_syscall(host::kTimerCreate, SYS_timer_create, CLOCK_MONOTONIC,
                                              &event, &timer_)))
        return;
    itimerspec once{};
    once.it_value = {delay_ns_ / 1000000000, delay_ns_ % 1000000000};
    host::raw_syscall(SYS_timer_settime, timer_, 0, &once, nullptr);
    if (delay_ns_ < kLongestDelayNs / 2) delay_ns_ *= 2;
}

void attend_libc_wait(Fiber* fiber, void* context) {
    LibcWait* wait = t_wait;
    const InterruptMark before = interrupt_mark(fiber);
    for (;;) {
        fiber->attention.fetch_and(~(fiber->attention.load() & kAttendCancel));
        wait->end();
        const bool is_cancelled = wait->may_be_cancelled();
        if (is_cancelled && wait->waits_cancellably(context)) cancellation_point(fiber);
        wait->begin();
        // The note stays up, so that the next kick looks again.
        if (wait->may_be_cancelled()) {
            fiber->attention.fetch_or(kAttendCancel);
            if (is_cancelled) {
                wait->look_again_later();
                break;
            }
        } else if ((fiber->attention.load() & kInterrupts) == 0) {
            break;
        }
    }
    wait->answer_handlers(before, context);
}

}  // namespace pfiber::shim
