// The last kernel thread: where the kernel refuses another one and every worker waits in a call,
// the monitor runs fibers itself, so that a program gets as far as on kernel threads of its own.
//
// Only then: no processor is in use, nobody sleeps in the pollers, and work is there.  Nobody
// watches it meanwhile, so a timer interrupts what runs there, and whoever waits in the kernel
// gives way or, in a call that hooks have seen, asks for a kernel thread once more.  A fiber that
// is to be bound to its kernel thread waits for another one: the monitor's serves everybody.
// Rejected: a worker kept in reserve (a kernel thread for each process, and one is not enough when
// two calls block).
#include <signal.h>
#include <time.h>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/call_filter.h"
#include "scheduler/scheduler.h"

namespace pfiber {

namespace {

constexpr int64_t kTickNs = 10000000;
int tick_timer = -1;  // the monitor's; made before a filter may forbid it, armed while it is lent
int64_t tick_cpu_ns = 0;

void set_tick(int64_t period_ns) {
    if (tick_timer < 0) return;
    itimerspec period{};
    period.it_interval = period.it_value = {0, period_ns};
    tick_cpu_ns = host::clock_ns(CLOCK_THREAD_CPUTIME_ID);
    host::raw_syscall(SYS_timer_settime, tick_timer, 0, &period, nullptr);
}

// Timers and events of processors that nobody runs: what is ready goes to the global queue.
void collect_work(int64_t now) {
    for (int i = 0; i < g_scheduler.processor_count; i++) {
        Processor* processor = g_scheduler.processors[i];
        if (processor->timers.earliest_ns() <= now) run_timers(processor, now);
        if (processor->poller.waiters.load(std::memory_order_relaxed) > 0)
            ready_list(poll_ready(processor));
    }
}

Processor* take_processor_for_work() {
    LockGuard guard(g_scheduler.lock);
    if (g_scheduler.global.is_empty() ||
        g_scheduler.idle_processor_count.load() != g_scheduler.processor_count)
        return nullptr;
    return take_idle_processor();
}

Fiber* next_fiber(Processor* processor) {
    bool inherits = false;
    if (Fiber* fiber = processor->queue.get(&inherits)) return fiber;
    LockGuard guard(g_scheduler.lock);
    return global_take(processor, 0);
}

void give_back(Worker* monitor) {
    Processor* processor = release_processor(monitor);
    LockGuard guard(g_scheduler.lock);
    bool inherits = false;
    while (Fiber* fiber = processor->queue.get(&inherits)) g_scheduler.global.push_back(fiber);
    put_idle_processor(processor);
}

void become_worker(Worker* monitor) {
    monitor->is_monitor = false;
    monitor->is_lent = true;
    monitor->mask_generation = ~uint64_t{0};
    if (runtime_callbacks.worker_mask != nullptr) runtime_callbacks.worker_mask(monitor);
    preempt_worker_started(monitor);
    if (tick_timer < 0) rescue_prepare(monitor);  // perhaps it is granted now
    set_tick(kTickNs);
}

void become_monitor(Worker* monitor) {
    set_tick(0);
    preempt_worker_ending(monitor);
    const uint64_t all = ~uint64_t{0};
    host::raw_sigprocmask(SIG_SETMASK, &all, nullptr);
    monitor->is_monitor = true;
    monitor->is_lent = false;
}

// Until it has no processor any more, there is no work, or a worker is back: that one may block
// again, and needs to be watched.
void run_fibers(Worker* monitor, FiberList* skipped) {
    while (monitor->processor != nullptr && g_scheduler.idle_worker_count.load() == 0 &&
           g_scheduler.idle_processor_count.load() == g_scheduler.processor_count - 1 &&
           g_scheduler.stop_requested.load() == 0) {
        Processor* processor = monitor->processor;
        processor->look_around.store(0, std::memory_order_relaxed);
        const int64_t now = Platform::now_ns();
        processor->now_ns.store(now, std::memory_order_relaxed);
        collect_work(now);
        Fiber* fiber = monitor->handed != nullptr ? monitor->handed : next_fiber(processor);
        monitor->handed = nullptr;
        if (fiber == nullptr) return;
        processor->schedule_tick.fetch_add(1, std::memory_order_relaxed);
        if (fiber->needs_worker) {  // it is to be bound, and not to this thread
            skipped->push_back(fiber);
            continue;
        }
        if (fiber->locked_worker != nullptr) {
            // Its worker sleeps until it gets a processor: this one.
            give_to_locked_worker(monitor, fiber);
            return;
        }
        fiber->state.store(FiberState::kRunning, std::memory_order_relaxed);
        fiber->last_processor = processor->id;
        switch_to(monitor, &monitor->scheduler_fiber, fiber, AfterSwitch::kNothing);
    }
}

}  // namespace

void rescue_prepare(const Worker* monitor) {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = static_cast<int>(options().signal);
    event._sigev_un._tid = monitor->tid.load();
    tick_timer = -1;
    int timer = -1;
    if (host::optional_syscall(host::kTimerCreate, SYS_timer_create, CLOCK_MONOTONIC, &event,
                               &timer) == 0)
        tick_timer = timer;
}

bool rescue_tick(Fiber* fiber) {
    Worker* monitor = fiber->worker;
    if (!monitor->is_lent) return false;
    const int64_t cpu = host::clock_ns(CLOCK_THREAD_CPUTIME_ID);
    const bool is_waiting = cpu - tick_cpu_ns < kTickNs / 10;
    tick_cpu_ns = cpu;
    if (!is_waiting) return false;
    if (!fiber->in_call && monitor->processor != nullptr) {
        fiber->attention.fetch_or(kAttendPreempt);
        return true;
    }
    auto in_call = ProcessorStatus::kInCall;
    Processor* processor = monitor->processor;
    if (processor != nullptr &&
        processor->status.compare_exchange_strong(in_call, ProcessorStatus::kIdle))
        hand_off(processor);
    else
        wake_worker();
    return true;
}

bool rescue(Worker* monitor, int64_t now) {
    if (g_scheduler.sleeper_deadline_ns.load() != 0 ||
        g_scheduler.idle_processor_count.load() != g_scheduler.processor_count)
        return false;
    collect_work(now);
    Processor* processor = take_processor_for_work();
    if (processor == nullptr) return false;
    COUNT(rescues);
    acquire_processor(monitor, processor);
    become_worker(monitor);
    FiberList skipped;
    run_fibers(monitor, &skipped);
    if (monitor->handed != nullptr) {
        global_put(monitor->handed);
        monitor->handed = nullptr;
    }
    if (monitor->processor != nullptr) give_back(monitor);
    while (!skipped.is_empty()) global_put(skipped.take(1, [](Fiber*) {}));
    become_monitor(monitor);
    // Events and timers have nobody else, nor has what is left in the queues.
    g_scheduler.thread_refused.store(1);
    return true;
}

}  // namespace pfiber
