// The monitor (Go: sysmon): a kernel thread without a processor that looks after those who have
// one.
//
// It takes processors from calls that last, finds workers that sleep where no hook saw it, asks
// long-running fibers to yield, polls instances that nobody polls, and runs overdue timers of busy
// processors.  It sleeps 20 µs, after 50 idle rounds twice as long each round up to 10 ms, and
// without limit while every processor is idle.
#include <linux/membarrier.h>
#include <sys/mman.h>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/identity.h"
#include "scheduler/host/report.h"
#include "scheduler/host/thread_state.h"
#include "scheduler/scheduler.h"
#include "scheduler/trace.h"

namespace pfiber {

namespace {

constexpr int64_t kShortestSleepNs = 20000;
constexpr int64_t kLongestSleepNs = 10000000;
constexpr int kPatientRounds = 50;
constexpr int64_t kPollLateNs = 10000000;
constexpr int64_t kTimerAskNs = 20000;       // an overdue timer: its processor is asked to look,
constexpr int64_t kTimerLateNs = 100000;     // and then the monitor runs it itself
constexpr int kIdleRounds = 10;              // of the longest sleep, before the sleep without limit
constexpr int64_t kMissedAfterNs = 5000000;  // outside the runtime and not scheduled: look closer

Worker* monitor;
int64_t asked_timer_ns = kNever;  // the timer for which a processor was asked last; the monitor's

bool work_waits(Processor* processor) {
    return !processor->queue.is_empty() || !g_scheduler.global.is_empty() ||
           processor->poller.waiters.load(std::memory_order_relaxed) > 0;
}

// Go: retake. A processor in a call is taken when the same call was seen in two rounds and somebody
// could use it, or after a slice in any case.
bool retake_from_call(Processor* processor, int64_t now) {
    auto& seen = processor->observed;
    const uint32_t tick = processor->call_tick.load(std::memory_order_relaxed);
    if (tick != seen.call_tick) {
        seen.call_tick = tick;
        seen.call_since_ns = now;
        return false;
    }
    const bool others_idle =
        g_scheduler.idle_processor_count.load() + g_scheduler.spinning.load() > 0;
    if (processor->queue.is_empty() && others_idle && now - seen.call_since_ns < kLongestSleepNs)
        return false;
    auto in_call = ProcessorStatus::kInCall;
    if (!processor->status.compare_exchange_strong(in_call, ProcessorStatus::kIdle)) return false;
    COUNT(retakes);
    processor->call_tick.fetch_add(1);
    hand_off(processor);
    return true;
}

// A worker that blocked where no hook saw it (inside libc, a raw instruction, a page fault).  It
// marked nothing, so: claim, barrier on every thread of the process, look again.  Its next entry
// into the runtime sees the claim or is seen by us (W5).
bool retake_missed(Processor* processor, Worker* worker, Fiber* fiber, uint32_t tick) {
    if (fiber->is_scheduler || fiber->depth != 0 ||
        !host::is_asleep_in_kernel(worker->tid.load(), static_cast<int>(options().signal)))
        return false;
    fiber->attention.fetch_or(kAttendClaim);
    host::raw_syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    Platform::chaos_point();
    auto running = ProcessorStatus::kRunning;
    const bool still = static_cast<volatile int32_t&>(fiber->depth) == 0 &&
                       worker->current == fiber && processor->worker == worker &&
                       processor->schedule_tick.load() == tick &&
                       processor->status.compare_exchange_strong(running, ProcessorStatus::kIdle);
    if (!still) {
        fiber->attention.fetch_and(~uint32_t{kAttendClaim});
        return false;
    }
    worker->processor = nullptr;
    fiber->attention.fetch_or(kAttendRetaken);
    fiber->attention.fetch_and(~uint32_t{kAttendClaim});
    COUNT(missed_blocking);
    hand_off(processor);
    return true;
}

bool look_at_running(Processor* processor, int64_t now) {
    auto& seen = processor->observed;
    const uint32_t tick = processor->schedule_tick.load(std::memory_order_relaxed);
    Worker* worker = processor->worker;
    if (tick != seen.schedule_tick || worker == nullptr) {
        seen.schedule_tick = tick;
        seen.schedule_since_ns = now;
        seen.cpu_ns = -1;
        return false;
    }
    const int64_t age = now - seen.schedule_since_ns;
    if (age < kMissedAfterNs) return false;
    // The same fiber for a while: does its worker burn CPU time?
    const int tid = worker->tid.load(std::memory_order_relaxed);
    const int64_t cpu = host::thread_cpu_ns(tid);
    const int64_t burnt = seen.cpu_ns < 0 ? kLongestSleepNs : cpu - seen.cpu_ns;
    seen.cpu_ns = cpu;
    Fiber* fiber = worker->current;
    if (fiber->is_scheduler || !work_waits(processor)) return false;
    if (burnt < kShortestSleepNs && retake_missed(processor, worker, fiber, tick)) return true;
    if (age < options().slice_ms * 1000000) return false;
    // The slice is over.  A hog's own CPU timer sees to it; one that sleeps shortly and often in
    // calls that no hook sees uses too little CPU time for that.
    const bool is_hog = burnt > kMissedAfterNs / 2;
    const Preempt mode = options().preempt;
    const bool has_timer = mode != Preempt::kTgkill && worker->cpu_timer >= 0;  // it may be refused
    if (mode == Preempt::kOff || (is_hog && has_timer)) return false;
    if (retake_missed(processor, worker, fiber, tick)) return true;
    COUNT(preemptions_asked);
    fiber->attention.fetch_or(kAttendPreempt);
    kick(fiber);
    return false;
}

bool look_at_poller(Processor* processor, int64_t now) {
    Poller& poller = processor->poller;
    if (poller.waiters.load(std::memory_order_relaxed) == 0 ||
        g_scheduler.sleeper_deadline_ns.load() != 0 ||
        now - poller.last_poll_ns.load(std::memory_order_relaxed) < kPollLateNs)
        return false;
    Fiber* fibers = poll_ready(processor);
    if (fibers == nullptr) return false;
    ready_list(fibers);
    return true;
}

// Timers of a processor that runs on.  Who enters a hook lets its worker look around, which is
// soonest; they wait for nobody who does not.
bool look_at_timers(Processor* processor, ProcessorStatus status, int64_t now) {
    const int64_t timer = processor->timers.earliest_ns();
    const int64_t late = now - timer;
    if (late < kTimerAskNs) return false;
    if (late > kTimerLateNs || status != ProcessorStatus::kRunning)
        return run_timers(processor, now);
    asked_timer_ns = timer;
    processor->look_around.store(1, std::memory_order_relaxed);
    Worker* worker = processor->worker;
    Fiber* fiber = worker == nullptr ? nullptr : worker->current;
    if (fiber != nullptr && !fiber->is_scheduler) fiber->attention.fetch_or(kAttendPreempt);
    return false;
}

bool everything_idle() {
    return g_scheduler.idle_processor_count.load() == g_scheduler.processor_count;
}

bool nothing_to_watch() {
    return everything_idle() && g_scheduler.requests.load() == 0 &&
           g_scheduler.thread_refused.load() == 0;
}

bool one_round(int64_t now) {
    bool did_something = false;
    if (g_scheduler.thread_refused.exchange(0) != 0) wake_worker();
    for (int i = 0; i < g_scheduler.processor_count; i++) {
        Processor* processor = g_scheduler.processors[i];
        const ProcessorStatus status = processor->status.load();
        switch (status) {
            case ProcessorStatus::kInCall:
                did_something |= retake_from_call(processor, now);
                break;
            case ProcessorStatus::kRunning:
                did_something |= look_at_running(processor, now);
                break;
            case ProcessorStatus::kIdle:
                break;
        }
        if (!everything_idle()) did_something |= look_at_timers(processor, status, now);
        did_something |= look_at_poller(processor, now);
    }
    return did_something;
}

// Until somebody needs watching: a processor at work, an overdue timer, signals to hand out.
void deep_sleep(int64_t deadline) {
    g_scheduler.monitor_covers_ns.store(INT64_MIN);  // it is rung before a processor runs on
    g_scheduler.monitor_sleep(nothing_to_watch, deadline);
}

// Between two rounds; less when a timer comes before that.  After its processor was asked to
// look around, the second look at a timer comes later.
void short_sleep(int64_t now, int64_t sleep_ns) {
    const uint32_t word = g_scheduler.monitor_word.load();
    int64_t until = now + sleep_ns;
    g_scheduler.monitor_covers_ns.store(until);
    // One that is armed from here on and is earlier rings.
    const int64_t timer = earliest_timer_ns();
    if (timer < until) {
        g_scheduler.monitor_covers_ns.store(timer);
        const int64_t look = timer + (timer == asked_timer_ns ? kTimerLateNs : kTimerAskNs);
        if (look < until && sleep_ns > kShortestSleepNs)
            until = look > now + kShortestSleepNs ? look : now + kShortestSleepNs;
    }
    Platform::futex_wait(g_scheduler.monitor_word, word, until);
}

[[noreturn]] void monitor_main(void* argument) {
    t_current = &static_cast<Worker*>(argument)->scheduler_fiber;
    int64_t sleep_ns = kShortestSleepNs;
    int idle_rounds = 0, idle_since = 0;
    int64_t next_trace = Platform::now_ns();
    for (;;) {
        const int64_t trace_ns = options().schedtrace_ms * 1000000;
        int64_t now = Platform::now_ns();
        // A server that is idle between requests would pay a wake-up of this thread for each: only
        // after a while without work it sleeps for good, and the next processor in use wakes it.
        idle_since = nothing_to_watch() ? idle_since + 1 : 0;
        if (idle_since > kIdleRounds && sleep_ns == kLongestSleepNs) {
            deep_sleep(trace_ns > 0 ? next_trace : kNever);
            sleep_ns = kShortestSleepNs;
            idle_rounds = idle_since = 0;
        } else {
            short_sleep(now, sleep_ns);
        }
        now = Platform::now_ns();
        const uint32_t requests = g_scheduler.requests.exchange(0);
        if (requests != 0 && runtime_callbacks.serve != nullptr) runtime_callbacks.serve(requests);
        if (one_round(now)) {
            idle_rounds = 0;
            sleep_ns = kShortestSleepNs;
        } else if (++idle_rounds > kPatientRounds && sleep_ns < kLongestSleepNs) {
            sleep_ns *= 2;
            if (sleep_ns > kLongestSleepNs) sleep_ns = kLongestSleepNs;
        }
        if (trace_ns > 0 && now >= next_trace) {
            schedtrace_line();
            next_trace = now + trace_ns;
        }
    }
}

}  // namespace

void request_monitor(uint32_t requests) {
    g_scheduler.requests.fetch_or(requests);
    wake_monitor();
}

void wake_monitor() { g_scheduler.ring_monitor(); }

// A processor runs on with a timer that comes before the monitor's next look.
void tell_monitor_of_timer(int64_t deadline_ns) {
    g_scheduler.monitor_covers_ns.store(deadline_ns);  // told once
    wake_monitor();
}

int template_tid() { return monitor->tid.load(std::memory_order_relaxed); }

bool monitor_start() {
    host::raw_syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    monitor = create_worker();
    if (monitor == nullptr) return false;
    monitor->is_monitor = true;
    return host::kernel_thread_start(monitor->memory, monitor_main, monitor, &monitor->tid) == 0;
}

}  // namespace pfiber
