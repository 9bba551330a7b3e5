// The switch and the loop: leave a stack, finish what it left behind, find the next fiber, run it.
//
// A fiber that parks looks into its processor's own queue first and switches straight to what it
// finds (no trip over the scheduler stack); only when that is empty, or the processor is to look
// around, the worker's scheduler stack runs find_runnable().  What must happen after a stack is
// left (publish "parked", requeue) is done by finish_switch() on the stack that was entered.
#include "scheduler/scheduler.h"

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/cpu_time.h"
#include "scheduler/host/report.h"
#include "scheduler/host/signal.h"

namespace pfiber {

__thread Fiber* t_current __attribute__((tls_model("initial-exec"))) = nullptr;
__thread Fiber* t_owner __attribute__((tls_model("initial-exec"))) = nullptr;
Scheduler g_scheduler;
RuntimeCallbacks runtime_callbacks;

// F3: between set_thread_pointer and the jump a signal handler sees the target's identity on the
// old stack; both fibers are in the runtime (depth > 0), so it only takes notes.
void switch_to(Worker* worker, Fiber* from, Fiber* to, AfterSwitch after) {
    worker->previous = from;
    worker->after = after;
    worker->current = to;
    to->worker = worker;
    Platform::chaos_point();
    if (__builtin_expect(g_cpu_accounting, 0)) cpu_time_switch(worker, from, to);
    host::set_thread_pointer(to->tp);
    const host::Transfer arrived = host::jump(to->context, worker);
    // Perhaps on another worker by now: only what came with the jump is true.
    auto* now = static_cast<Worker*>(arrived.data);
    now->previous->context = arrived.fctx;
    finish_switch(now);
}

void finish_switch(Worker* worker) {
    Fiber* left = worker->previous;
    // The kernel's alternate stack is always the running fiber's: sigreturn on another worker then
    // restores the value that this worker has anyway.  Not before the jump: the kernel refuses to
    // change it while the stack that is left is the alternate one.  The scheduler has none: a
    // signal that came there would write on the stack of a fiber that runs elsewhere by now, or is
    // gone.
    Fiber* entered = worker->current;
    if (__builtin_expect(entered->alternate_stack != worker->alternate_stack, 0)) {
        worker->alternate_stack = entered->alternate_stack;
        host::install_alternate_stack(entered->alternate_stack, entered->alternate_stack_size,
                                      entered->alternate_stack_flags);
    }
    switch (worker->after) {
        case AfterSwitch::kNothing:
            break;
        case AfterSwitch::kPark:
            // From a successful commit on the fiber belongs to whoever claims it.
            left->state.store(FiberState::kParked, std::memory_order_relaxed);
            if (!left->park.commit()) ready(left, true);
            break;
        case AfterSwitch::kYieldLocal:
            if (!join_spilled(left)) ready(left, false);
            break;
        case AfterSwitch::kYieldGlobal:
            left->state.store(FiberState::kRunnable, std::memory_order_relaxed);
            global_put(left);
            break;
        case AfterSwitch::kYieldNext:
        case AfterSwitch::kYieldBehind:
            ready(left, true);
            break;
        case AfterSwitch::kFinish:
            left->state.store(FiberState::kFinished, std::memory_order_release);
            if (runtime_callbacks.finished != nullptr) runtime_callbacks.finished(left);
            break;
    }
}

namespace {

// Thousands of fibers do not fit into the caches: what the next switches need is on its way while
// this fiber runs.  A fiber's memory stays mapped for ever, so a stale hint does no harm.
void fetch_ahead(Processor* processor) {
    if (const Fiber* second = processor->queue.peek(1)) {
        Platform::prefetch(second);
        Platform::prefetch(&second->queue_next);
    }
    if (const Fiber* first = processor->queue.peek(0)) {
        Platform::prefetch(first->context);
        Platform::prefetch(reinterpret_cast<const void*>(first->tp));
    }
}

// The next fiber without leaving the fast path; null sends the worker to its loop.
Fiber* next_local(Worker* worker) {
    Processor* processor = worker->processor;
    if (processor == nullptr || processor->look_around.load(std::memory_order_relaxed) != 0)
        return nullptr;
    const uint32_t tick = processor->schedule_tick.load(std::memory_order_relaxed);
    if (tick % kFairnessTick == 0) return nullptr;
    bool inherits = false;
    Fiber* next = processor->queue.get(&inherits);
    if (next == nullptr) return nullptr;
    if (next->locked_worker != nullptr && next->locked_worker != worker) {
        worker->handed = next;
        return nullptr;
    }
    if (!inherits) processor->schedule_tick.store(tick + 1, std::memory_order_relaxed);
    fetch_ahead(processor);
    return next;
}

void start_running(Worker* worker, Fiber* fiber) {
    fiber->state.store(FiberState::kRunning, std::memory_order_relaxed);
    Processor* processor = worker->processor;
    if (processor == nullptr) return;
    fiber->last_processor = processor->id;
    const int64_t timer = processor->timers.earliest_ns();
    if (__builtin_expect(timer < g_scheduler.monitor_covers_ns.load(std::memory_order_relaxed), 0))
        tell_monitor_of_timer(timer);
}

}  // namespace

void leave_fiber(Fiber* fiber, AfterSwitch after) {
    Worker* worker = fiber->worker;
    if (worker->processor != nullptr)
        fiber->since_ns = worker->processor->now_ns.load(std::memory_order_relaxed);
    Fiber* next = nullptr;
    // A locked worker runs only its fiber, so it goes to its loop to wait for it.
    const bool goes_on = after != AfterSwitch::kYieldGlobal && after != AfterSwitch::kYieldNext;
    if (worker->locked_fiber == nullptr && !worker->must_end && goes_on) next = next_local(worker);
    if (next != nullptr && next != fiber) {
        start_running(worker, next);
        switch_to(worker, fiber, next, after);
    } else {
        if (next != nullptr) worker->handed = next;
        // The loop's next fiber is the one in the slot, which the caller would put itself into.
        if (after == AfterSwitch::kYieldBehind) after = AfterSwitch::kYieldLocal;
        switch_to(worker, fiber, &worker->scheduler_fiber, after);
    }
}

void schedule_loop(Worker* worker) {
    for (;;) {
        PFIBER_CHECK(worker->scheduler_fiber.depth > 0,
                     "worker %d runs its loop outside the runtime", worker->id);
        Fiber* next = nullptr;
        if (worker->locked_fiber != nullptr && !worker->must_end) {
            if (worker->handed != nullptr) {
                global_put(worker->handed);
                worker->handed = nullptr;
            }
            stop_locked_worker(worker);
            if (worker->must_end) continue;
            next = worker->locked_fiber;
        } else if (worker->must_end) {
            end_worker(worker);
        } else {
            if (worker->processor == nullptr) stop_worker(worker);
            if (runtime_callbacks.worker_mask != nullptr) runtime_callbacks.worker_mask(worker);
            next = find_runnable(worker);
            if (worker->is_spinning) reset_spinning(worker);
            if (next->locked_worker != nullptr && next->locked_worker != worker) {
                start_locked_worker(worker, next);
                continue;
            }
        }
        start_running(worker, next);
        if (__builtin_expect(next->busy_wait_trust != 0, 0)) busy_wait_dispatched(worker, next);
        switch_to(worker, &worker->scheduler_fiber, next, AfterSwitch::kNothing);
    }
}

Wake park(Fiber* fiber, WaitReason reason, int64_t deadline_ns) {
    // A region that the program opened (pfiber.h): for the wait it needs a processor.
    const bool is_in_region = fiber->in_call;
    if (is_in_region) exit_call(fiber);
    if (deadline_ns != kNever && !fiber->runs_beside) timer_arm(fiber, deadline_ns);
    // Whoever set it may have found no open wait to end; the wait was opened before this look (F4).
    constexpr uint32_t kInterrupts = kAttendSignal | kAttendCancel;
    if ((fiber->attention.load(std::memory_order_seq_cst) & kInterrupts) != 0)
        fiber->park.claim(fiber->park.open_sequence(), Wake::kSignal);
    if (!fiber->park.is_claimed()) {
        fiber->wait_reason = reason;
        if (fiber->runs_beside) fiber->worker->wait_until_ns = deadline_ns;
        leave_fiber(fiber, AfterSwitch::kPark);
        fiber->wait_reason = WaitReason::kNone;
    }
    if (deadline_ns != kNever) timer_disarm(fiber);
    if (is_in_region) enter_blocking_call(fiber);
    return fiber->park.outcome();
}

bool wake(FiberRef who, Wake outcome, bool next) {
    switch (who.fiber->park.claim(who.sequence, outcome)) {
        case ParkWord<Platform>::Claim::kFailed:
            return false;
        case ParkWord<Platform>::Claim::kWaiterSees:
            return true;
        case ParkWord<Platform>::Claim::kMustReady:
            ready(who.fiber, next);
            return true;
    }
    return false;
}

namespace {

// Only a thread that holds a processor may touch its ring.  In the runtime.
Processor* owned_processor() {
    const Fiber* self = current_fiber();
    return self == nullptr || self->in_call ? nullptr : self->worker->processor;
}

}  // namespace

void ready(Fiber* fiber, bool next) {
    fiber->state.store(FiberState::kRunnable, std::memory_order_relaxed);
    if (__builtin_expect(fiber->runs_beside, 0)) return start_beside(fiber);
    OptionalSection section;
    if (Processor* mine = owned_processor()) {
        mine->queue.put(fiber, next, spill);
    } else {
        global_put(fiber);
    }
    wake_worker();
}

// Go: injectglist.  As many as fit into the processor's ring and leave it some room, the others
// behind everybody in the global queue: a ring that is full would send its oldest half there, which
// had almost come to its turn.
void ready_list(Fiber* first) {
    OptionalSection section;
    Processor* mine = owned_processor();
    constexpr int32_t kLeft = RunQueue<Platform, Fiber>::kCapacity / 4;
    for (int32_t room = mine == nullptr ? 0 : ring_room(mine) - kLeft; first != nullptr && room > 0;
         room--) {
        Fiber* fiber = first;
        first = fiber->queue_next;
        fiber->queue_next = nullptr;
        ready(fiber, false);
    }
    if (first != nullptr) global_put_list(first);
}

namespace {

// The clock costs more than a yield, so short turns look at it at each 16th yield only.
void look_for_events_now_and_then(Processor* processor) {
    constexpr int32_t kMostBetween = 16;
    if (processor->poller.waiters.load(std::memory_order_relaxed) <= 0) return;
    if (--processor->yields_left > 0) return;
    const int64_t now = Platform::now_ns();
    const int64_t passed = now - processor->yield_clock_ns;
    processor->yield_clock_ns = now;
    if (passed > kYieldLookNs / 2)
        processor->yields_between = 1;
    else if (passed < kYieldLookNs / 4 && processor->yields_between < kMostBetween)
        processor->yields_between *= 2;
    processor->yields_left = processor->yields_between;
    if (now - processor->poller.last_poll_ns.load(std::memory_order_relaxed) > kYieldLookNs)
        processor->look_around.store(kLookForEvents, std::memory_order_relaxed);
}

}  // namespace

void yield(Fiber* fiber) {
    Processor* processor = fiber->worker->processor;
    if (processor == nullptr) return;
    look_for_events_now_and_then(processor);
    leave_fiber(fiber, AfterSwitch::kYieldLocal);
}

void let_woken_run(Fiber* fiber) {
    constexpr int64_t kOftenNs = 1000000;
    if (fiber == nullptr || fiber->depth != 0) return;
    RuntimeSection section(fiber);
    fiber->owes_turn = false;
    Processor* processor = fiber->worker->processor;
    if (processor == nullptr || fiber->locked_worker != nullptr || fiber->pinned != 0 ||
        !processor->queue.has_next())
        return;
    const int64_t now = Platform::now_ns();
    if (now - processor->gave_way_ns < kOftenNs) return;
    processor->gave_way_ns = now;
    leave_fiber(fiber, AfterSwitch::kYieldBehind);
}

void let_created_run(Fiber* creator) {
    if (g_scheduler.processor_count == 1) let_woken_run(creator);
}

void yield_preempted(Fiber* fiber) {
    // With PFIBER_PREEMPT=off it gives way by itself.
    if (options().preempt != Preempt::kOff) COUNT(preemptions);
    const Worker* before = fiber->worker;
    if (before->processor != nullptr)
        before->processor->look_around.store(kLookForEvents, std::memory_order_relaxed);
    leave_fiber(fiber, AfterSwitch::kYieldGlobal);
    if (fiber->worker != before) COUNT(preemptions_moved);
}

bool somebody_waits(Fiber* fiber) {
    if (__builtin_expect(fiber->worker->is_lent, 0)) return true;  // the monitor's own work
    Processor* processor = fiber->worker->processor;
    return processor != nullptr &&
           (!processor->queue.is_empty() || !g_scheduler.global.is_empty() ||
            processor->poller.waiters.load(std::memory_order_relaxed) > 0 ||
            processor->timers.earliest_ns() != kNever);
}

namespace {

// The world stops: its loop gives the processor away (Go: the preemption request of stopTheWorld).
void stop_here(Fiber* fiber) {
    if (fiber->in_call || fiber->pinned != 0 || fiber->worker->processor == nullptr ||
        g_scheduler.stop_requested.load() == 0)
        return;
    leave_fiber(fiber, AfterSwitch::kYieldNext);
}

}  // namespace

void runtime_entry_slow(Fiber* fiber) {
    const auto regain = [fiber] {
        fiber->in_call = true;  // what it is now: running without a processor
        fiber->depth--;
        exit_call(fiber);
        fiber->depth++;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    };
    look_at_losses(
        fiber, [fiber] { wait_for_claim(fiber); }, [fiber] { stop_here(fiber); }, regain);
}

void runtime_leave_slow(Fiber* fiber) {
    if (fiber->in_call) return;  // looked at when the call is left
    fiber->depth++;
    for (;;) {
        const uint32_t seen = fiber->attention.load(std::memory_order_acquire);
        if (seen == 0) {
            // Whoever kicks us before the depth is down is told to leave it to us.
            fiber->depth--;
            std::atomic_signal_fence(std::memory_order_seq_cst);
            if (fiber->attention.load(std::memory_order_acquire) == 0) return;
            fiber->depth++;
            continue;
        }
        if ((seen & (kAttendClaim | kAttendRetaken)) != 0) {
            runtime_entry_slow(fiber);
            continue;
        }
        fiber->attention.fetch_and(~seen);
        if ((seen & kAttendStop) != 0) stop_here(fiber);
        if ((seen & kAttendPreempt) != 0 && !fiber->in_call && somebody_waits(fiber))
            yield_preempted(fiber);
        constexpr uint32_t kAbove = kAttendSignal | kAttendCancel | kAttendState;
        if ((seen & kAbove) != 0 && runtime_callbacks.attend != nullptr) {
            fiber->depth--;
            runtime_callbacks.attend(fiber, seen);
            fiber->depth++;
        }
    }
}

}  // namespace pfiber
