// The monitor (Go: sysmon): a kernel thread without a processor that looks after those who have
// one.
//
// It takes processors from calls that last, finds workers that sleep where no hook saw it, asks
// long-running fibers to yield, polls instances that nobody polls, and runs overdue timers of busy
// processors.  It sleeps 20 µs, after 50 idle rounds twice as long each round up to 10 ms, and
// without limit while every processor is idle.
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/mman.h>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/call_filter.h"
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
constexpr int64_t kPollLateNs = 10000000;         // the processor is asked to look,
constexpr int64_t kPollLastNs = 30000000;         // and then the monitor looks itself
constexpr int64_t kTimerAskNs = 20000;            // an overdue timer: its processor is asked,
constexpr int64_t kTimerLateNs = 100000;          // and then the monitor runs it itself
constexpr int64_t kUpdateEveryNs = 1000000000;    // Go's: affinity and cgroup limit
constexpr int64_t kCoveredTimerLateNs = 4000000;  // while somebody sleeps in the pollers
constexpr int64_t kRestNs =
    100000000;  // nothing happens for so long before the sleep without limit
constexpr int64_t kMissedAfterNs = 5000000;  // outside the runtime and not scheduled: look closer

constexpr int64_t kSecondLookNs = 1000000;  // after one that found a worker that may be asleep

Worker* monitor;
int64_t asked_timer_ns = kNever;  // the timer for which a processor was asked last; the monitor's
int64_t sleeper_seen_ns = 0;      // somebody slept in the pollers, who looks at all of them
int64_t look_again_ns = kLongestSleepNs;  // within this time, whatever the interval has grown to

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
    if (!take_from_call(processor, ProcessorStatus::kIdle)) return false;
    COUNT(retakes);
    hand_off(processor);
    return true;
}

// A worker that blocked where no hook saw it (inside libc, a raw instruction, a page fault).  It
// marked nothing; its next entry into the runtime sees the claim or is seen by us (W5).
bool retake_sleeping(Processor* processor, Worker* worker, Fiber* fiber,
                     const ProcessorView& view) {
    if (!retake_from_program<Platform>(g_scheduler.world_lock, processor, worker, fiber, view,
                                       barrier_on_every_thread))
        return false;
    COUNT(missed_blocking);
    hand_off(processor);
    return true;
}

bool has_ring(const Worker* worker) {
    return worker->switches.tid != 0 &&
           worker->switches.tid == worker->tid.load(std::memory_order_relaxed);
}

// By the kernel's record of its switches: asleep since the last round at least.  Plain loads.
bool ring_shows_sleep(Processor* processor, const Worker* worker) {
    const uint64_t position = host::switch_ring_position(worker->switches);
    const bool is_same = position == processor->observed.switches;
    const bool is_asleep = host::switch_ring_is_asleep(worker->switches, position);
    processor->observed.switches = is_asleep ? position : 0;
    return is_asleep && is_same;
}

// Without a ring: ask /proc, and for a ring, so that the next time is found soon and for nothing.
bool retake_missed(Processor* processor, Worker* worker, Fiber* fiber, const ProcessorView& view,
                   int64_t now, int64_t quiet_ns) {
    if (fiber->is_scheduler || fiber->depth != 0) return false;
    auto& seen = processor->observed;
    const int tid = worker->tid.load();
    const int signal = static_cast<int>(options().signal);
    const bool is_quiet_for_long = quiet_ns >= options().slice_ms * 1000000;
    if (!has_ring(worker) || !ring_shows_sleep(processor, worker)) {
        // A ring knows nothing of a sleep that began before it was opened.
        if (has_ring(worker) && !is_quiet_for_long) return false;
        // An answer costs four switches of kernel threads.  A worker that waits for a CPU is quiet
        // as well, and on a busy machine most of them do.
        if (now < seen.ask_after_ns) return false;
        const host::ThreadState state = host::kernel_thread_state(tid, signal);
        if (state == host::ThreadState::kRuns) {
            seen.ask_pause_ns = seen.ask_pause_ns == 0 ? kSecondLookNs : 2 * seen.ask_pause_ns;
            if (seen.ask_pause_ns > kLongestSleepNs) seen.ask_pause_ns = kLongestSleepNs;
            seen.ask_after_ns = now + seen.ask_pause_ns;
            return false;
        }
        // Taking it from one that waits for a CPU is allowed and wasteful: where nobody can tell,
        // only when it used none for a slice.
        if (state == host::ThreadState::kUnknown && !is_quiet_for_long) return false;
        if (!has_ring(worker)) host::switch_ring_open(&worker->switches, tid, signal);
    }
    return retake_sleeping(processor, worker, fiber, view);
}

bool look_at_running(Processor* processor, int64_t now) {
    auto& seen = processor->observed;
    ProcessorView view;
    if (!view_running(processor, &view)) return false;
    const uint32_t tick = view.schedule_tick;
    Worker* worker = processor->worker;
    if (tick != seen.schedule_tick || worker == nullptr) {
        seen.schedule_tick = tick;
        seen.schedule_since_ns = seen.quiet_since_ns = now;
        seen.cpu_ns = -1;
        seen.switches = 0;
        seen.ask_after_ns = seen.ask_pause_ns = 0;
        return false;
    }
    if (has_ring(worker) && work_waits(processor)) {
        Fiber* fiber = worker->current;
        if (!fiber->is_scheduler && fiber->depth == 0 && ring_shows_sleep(processor, worker) &&
            retake_sleeping(processor, worker, fiber, view))
            return true;
        if (seen.switches != 0) look_again_ns = kShortestSleepNs;
    }
    const int64_t age = now - seen.schedule_since_ns;
    if (age < kMissedAfterNs) return false;
    // The same fiber for a while: does its worker burn CPU time?
    const int tid = worker->tid.load(std::memory_order_relaxed);
    const int64_t cpu = host::thread_cpu_ns(tid);
    const bool is_first = seen.cpu_ns < 0;
    const int64_t burnt = cpu - seen.cpu_ns, elapsed = now - seen.cpu_at_ns;
    seen.cpu_ns = cpu;
    seen.cpu_at_ns = now;
    const bool is_quiet = !is_first && burnt < kShortestSleepNs;
    if (!is_quiet) seen.quiet_since_ns = now;
    const int64_t quiet_ns = now - seen.quiet_since_ns;
    Fiber* fiber = worker->current;
    if (fiber->is_scheduler || !work_waits(processor)) return false;
    if (is_first && look_again_ns > kSecondLookNs) look_again_ns = kSecondLookNs;
    if (is_quiet && retake_missed(processor, worker, fiber, view, now, quiet_ns)) return true;
    if (age < options().slice_ms * 1000000) return false;
    // The slice is over by the wall clock; CPU time is the timer's business.  A signal from here
    // would end sleeps in calls that no hook sees, so with a timer there is none: what sleeps often
    // is found asleep some day, what computes uses up its slice.
    const Preempt mode = options().preempt;
    const bool is_hog = is_first || burnt > elapsed / 4;
    if (mode == Preempt::kOff) return false;
    if (!is_hog && retake_missed(processor, worker, fiber, view, now, quiet_ns)) return true;
    if (mode != Preempt::kTgkill && worker->cpu_timer >= 0) return false;  // else it was refused
    COUNT(preemptions_asked);
    fiber->attention.fetch_or(kAttendPreempt);
    kick(fiber);
    return false;
}

// Events that nobody looks at, while no processor is idle.  A processor that is preempted or left
// in time looks itself and runs what it finds, which would else wait behind its queue and the
// global one.
bool look_at_poller(Processor* processor, int64_t now) {
    Poller& poller = processor->poller;
    const int64_t last = poller.last_poll_ns.load(std::memory_order_relaxed);
    const int64_t unseen = now - (last > sleeper_seen_ns ? last : sleeper_seen_ns);
    if (poller.waiters.load(std::memory_order_relaxed) == 0 || unseen < kPollLateNs) return false;
    if (unseen < kPollLastNs && options().preempt != Preempt::kOff &&
        processor->status.load() == ProcessorStatus::kRunning) {
        processor->look_around.store(kLookForEvents, std::memory_order_relaxed);
        return false;
    }
    Fiber* fibers = poll_ready(processor);
    if (fibers == nullptr) return false;
    ready_list(fibers);
    return true;
}

// Timers of a processor that runs on.  Who enters a hook lets its worker look around, which is
// soonest; they wait for nobody who does not.
void look_at_timers(Processor* processor, ProcessorStatus status, int64_t now) {
    const int64_t timer = processor->timers.earliest_ns();
    const int64_t late = now - timer;
    if (late < kTimerAskNs) return;
    if (late > kTimerLateNs || status != ProcessorStatus::kRunning) {
        run_timers(processor, now);  // says nothing about how soon to look again
        return;
    }
    asked_timer_ns = timer;
    processor->look_around.store(kLookForAll, std::memory_order_relaxed);
    Worker* worker = processor->worker;
    Fiber* fiber = worker == nullptr ? nullptr : worker->current;
    if (fiber != nullptr && !fiber->is_scheduler) fiber->attention.fetch_or(kAttendPreempt);
}

// Somebody sleeps in the pollers and will wake up for it.
bool is_covered(int64_t timer) {
    const int64_t sleeper = g_scheduler.sleeper_deadline_ns.load();
    return sleeper != 0 && sleeper <= timer;
}

bool everything_idle() {
    return g_scheduler.idle_processor_count.load() == g_scheduler.processor_count;
}

bool nothing_to_watch() {
    return everything_idle() && g_scheduler.requests.load() == 0 &&
           g_scheduler.thread_refused.load() == 0;
}

// A number that changes when a fiber starts.
uint32_t fibers_started() {
    uint32_t sum = 0;
    for (int i = 0; i < g_scheduler.made_count; i++)
        sum += g_scheduler.processors[i]->schedule_tick.load(std::memory_order_relaxed);
    return sum;
}

bool one_round(int64_t now) {
    bool did_something = false;
    if (g_scheduler.thread_refused.exchange(0) != 0) {
        wake_worker();
        if (g_scheduler.thread_refused.load() != 0) did_something |= rescue(monitor, now);
        // Left to a spinner, perhaps to one that has just seen everything.
        else if (g_scheduler.idle_processor_count.load() > 0 && !g_scheduler.global.is_empty())
            g_scheduler.thread_refused.store(1);
    }
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
            case ProcessorStatus::kStopped:
                break;
        }
        if (!everything_idle()) look_at_timers(processor, status, now);
    }
    if (g_scheduler.sleeper_deadline_ns.load() != 0) sleeper_seen_ns = now;
    // Those of removed processors may hold what the kernel did not let them move.
    for (int i = 0; i < g_scheduler.made_count; i++)
        did_something |= look_at_poller(g_scheduler.processors[i], now);
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
    // Before the look at the sleeper: who leaves the pollers after that look rings (T1).
    g_scheduler.monitor_looks_ns.store(kNever);
    int64_t until = now + (sleep_ns < look_again_ns ? sleep_ns : look_again_ns);
    g_scheduler.monitor_covers_ns.store(until);
    // One that is armed from here on and is earlier rings.
    const int64_t timer = earliest_timer_ns();
    if (timer < until) {
        g_scheduler.monitor_covers_ns.store(timer);
        const int64_t look = timer + (is_covered(timer)         ? kCoveredTimerLateNs
                                      : timer == asked_timer_ns ? kTimerLateNs
                                                                : kTimerAskNs);
        const int64_t soonest = now + kShortestSleepNs;
        if (look < until && sleep_ns > kShortestSleepNs) until = look > soonest ? look : soonest;
    }
    g_scheduler.monitor_looks_ns.store(until);
    Platform::futex_wait(g_scheduler.monitor_word, word, until);
}

[[noreturn]] void monitor_main(void* argument) {
    t_current = &static_cast<Worker*>(argument)->scheduler_fiber;
    int64_t sleep_ns = kShortestSleepNs;
    int idle_rounds = 0;
    int64_t next_trace = Platform::now_ns();
    int64_t active_ns = next_trace;
    sleeper_seen_ns = next_trace;
    uint32_t activity = 0;
    int64_t next_update = next_trace + kUpdateEveryNs;
    for (;;) {
        const int64_t trace_ns = options().schedtrace_ms * 1000000;
        int64_t now = Platform::now_ns();
        // A server that is idle between requests, and a program of short sleeps, would pay a
        // wake-up of this thread and a burst of its rounds for each: only after a while in which no
        // fiber ran it sleeps for good, and the next processor in use wakes it.
        const uint32_t starts = fibers_started();
        if (starts != activity || !nothing_to_watch()) active_ns = now;
        activity = starts;
        if (now - active_ns > kRestNs && sleep_ns == kLongestSleepNs) {
            deep_sleep(trace_ns > 0 ? next_trace : kNever);
            sleep_ns = kShortestSleepNs;
            idle_rounds = 0;
            active_ns = sleeper_seen_ns = Platform::now_ns();
        } else {
            short_sleep(now, sleep_ns);
        }
        now = Platform::now_ns();
        const uint32_t requests = g_scheduler.requests.exchange(0);
        if (requests != 0 && runtime_callbacks.serve != nullptr)
            g_scheduler.requests.fetch_or(runtime_callbacks.serve(requests));
        look_again_ns = kLongestSleepNs;
        if (one_round(now)) {
            idle_rounds = 0;
            sleep_ns = kShortestSleepNs;
        } else if (++idle_rounds > kPatientRounds && sleep_ns < kLongestSleepNs) {
            sleep_ns *= 2;
            if (sleep_ns > kLongestSleepNs) sleep_ns = kLongestSleepNs;
        }
        if (now >= next_update) {
            update_processor_count();
            next_update = now + kUpdateEveryNs;
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
    if (!is_covered(deadline_ns)) wake_monitor();
}

// Without the call (Linux before 4.14, or a filter) a moment does, in which every store leaves its
// CPU's buffer.
void barrier_on_every_thread() {
    if (host::optional_syscall(host::kMembarrier, SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED,
                               0, 0) == 0)
        return;
    const timespec moment{0, 100000};
    host::raw_syscall(SYS_nanosleep, &moment, nullptr);
}

int template_tid() { return monitor->tid.load(std::memory_order_relaxed); }

bool monitor_start() {
    host::optional_syscall(host::kMembarrier, SYS_membarrier,
                           MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    monitor = create_worker();
    g_start_error = ENOMEM;
    if (monitor == nullptr) return false;
    monitor->is_monitor = true;
    g_start_error =
        -host::kernel_thread_start(monitor->memory, monitor_main, monitor, &monitor->tid);
    if (g_start_error != 0) return false;
    rescue_prepare(monitor);
    return true;
}

}  // namespace pfiber
