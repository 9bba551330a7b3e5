// Busy-waiters: fibers that spin on memory until another thread has done something.
//
// With more spinning fibers than processors the one that is waited for may be queued behind the
// slices of those that wait for it: each step of a fork-join program (redis' io-threads, an OpenMP
// barrier) then lasts slices instead of microseconds.  A fiber that spends its slice in a loop of a
// few instructions which changes next to none of its registers is taken for one, and gives way
// after kBusySliceNs and a second look while others are queued.  A computation mistaken for one
// loses only the switches: about one per cent.
//
// Between two waits it works: then the looks become rarer, and only kTrust of them in a row without
// a wait end the suspicion, because another 4 to 8 ms would pass before the next.
//
// When everybody on a processor has been found busy-waiting in turn, only another worker, or
// another process, can go on, and on a machine with more to run than CPUs it may well be behind
// this very kernel thread, which therefore gives its CPU away.
//
// The kernel looks at CPU timers once a tick, so the short slice is a one-shot timer on the
// monotonic clock.  It runs only over a fiber that was just seen to use its slice up, hence not in
// a system call; like every signal with SA_RESTART it can end a raw sleep begun within the slice.
#include <errno.h>
#include <time.h>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/call_filter.h"
#include "scheduler/host/signal.h"
#include "scheduler/scheduler.h"

namespace pfiber {

namespace {

constexpr int64_t kSecondLookNs = 50000;
constexpr int64_t kBusySliceNs = 150000;
constexpr int kTrust = 8;
constexpr int kRarest = 5;  // halvings: a look every 4.8 ms

constexpr int kNoTimer = -1;
constexpr int kRefused = -2;

void arm(Worker* worker, int64_t after_ns) {
    if (worker->busy_timer == kNoTimer) {
        sigevent event{};
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = static_cast<int>(options().signal);
        event.sigev_value.sival_int = kBusyTimerMark;
        event._sigev_un._tid = host::raw_gettid();
        int timer = kRefused;
        if (host::optional_syscall(host::kTimerCreate, SYS_timer_create, CLOCK_MONOTONIC, &event,
                                   &timer) != 0)
            timer = kRefused;
        worker->busy_timer = timer;
    }
    if (worker->busy_timer == kRefused) return;
    itimerspec once{};
    once.it_value.tv_nsec = after_ns;
    host::raw_syscall(SYS_timer_settime, worker->busy_timer, 0, &once, nullptr);
}

int64_t queued(const Processor* processor) {
    return static_cast<int64_t>(processor->queue.size()) + (processor->queue.has_next() ? 1 : 0) +
           g_scheduler.global.size.load(std::memory_order_relaxed);
}

bool others_are_queued(const Processor* processor) {
    return !processor->queue.is_empty() || !g_scheduler.global.is_empty();
}

void arm_busy(Worker* worker, const Fiber* fiber) {
    const int missed = kTrust - fiber->busy_wait_trust;
    arm(worker, kBusySliceNs << (missed < kRarest ? missed : kRarest));
}

// One turn that was spent waiting.
void note_turn(Worker* worker, const Processor* processor, uint32_t tick) {
    worker->busy_turns = tick == worker->busy_turn + 1 ? worker->busy_turns + 1 : 1;
    worker->busy_turn = tick;
    if (worker->busy_turns <= queued(processor)) return;
    COUNT(busy_rounds);
    worker->busy_turns = 0;
    host::raw_syscall(SYS_sched_yield);
}

void take(BusySample* sample, uint32_t tick, const void* context) {
    sample->tick = tick;
    sample->cpu_ns = host::clock_ns(CLOCK_THREAD_CPUTIME_ID);
    sample->is_taken = host::sample_registers(&sample->registers, context);
}

void look_twice(Worker* worker, const void* context) {
    take(&worker->busy_sample, worker->processor->schedule_tick.load(std::memory_order_relaxed),
         context);
    if (worker->busy_sample.is_taken) arm(worker, kSecondLookNs);
}

}  // namespace

void busy_wait_suspect(Worker* worker, const void* context) {
    if (others_are_queued(worker->processor)) look_twice(worker, context);
}

bool busy_wait_look(Fiber* fiber, const void* context) {
    Worker* worker = fiber->worker;
    const Processor* processor = worker->processor;
    if (processor == nullptr || !others_are_queued(processor)) return false;
    const uint32_t tick = processor->schedule_tick.load(std::memory_order_relaxed);
    const BusySample before = worker->busy_sample;
    const bool is_first = !before.is_taken || before.tick != tick;
    // Known ones are looked at twice in each turn as well.
    if (is_first || host::clock_ns(CLOCK_THREAD_CPUTIME_ID) - before.cpu_ns < kSecondLookNs / 2) {
        if (!is_first || fiber->busy_wait_trust != 0) look_twice(worker, context);
        return false;
    }
    BusySample now;
    take(&now, tick, context);
    worker->busy_sample.is_taken = false;
    if (!now.is_taken || !host::stands_still(before.registers, now.registers)) {
        if (fiber->busy_wait_trust != 0 && --fiber->busy_wait_trust != 0) arm_busy(worker, fiber);
        return false;
    }
    if (fiber->busy_wait_trust == 0) COUNT(busy_waiters);
    fiber->busy_wait_trust = kTrust;
    note_turn(worker, processor, tick);
    return true;
}

void busy_wait_dispatched(Worker* worker, const Fiber* fiber) {
    if (worker->processor != nullptr && others_are_queued(worker->processor))
        arm_busy(worker, fiber);
}

void busy_wait_worker_started(Worker* worker) {
    worker->busy_timer = kNoTimer;
    worker->busy_sample.is_taken = false;
    worker->busy_turns = 0;
}

void busy_wait_worker_ending(Worker* worker) {
    if (worker->busy_timer >= 0) host::raw_syscall(SYS_timer_delete, worker->busy_timer);
    worker->busy_timer = kNoTimer;
}

}  // namespace pfiber
