// Where a worker with a processor looks for work, in Go's order, and the last looks before it gives
// the processor up.  Go: findRunnable, globrunqget, stealWork, runqsteal.
//
// No lost wake-up (W3): a submitter enqueues, then reads the number of spinning workers (seq_cst);
// a worker that stops spinning decrements it first and looks at every queue again.  W4: a worker
// that finds work while spinning wakes another.  need_spinning closes the hole where work was found
// but no processor was idle yet.
#include "scheduler/base/counters.h"
#include "scheduler/scheduler.h"
#include "scheduler/victim_order.h"

namespace pfiber {

void global_put(Fiber* fiber) {
    {
        LockGuard guard(g_scheduler.lock);
        g_scheduler.global.push_back(fiber);
    }
    wake_worker();
}

namespace {

void spill_locked(Fiber** batch, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) g_scheduler.global.push_back(batch[i]);
    g_scheduler.global.mark_spill();
}

// At the tail of the ring of the caller's processor; scheduler lock held.
void put_locked(Processor* processor, Fiber* fiber) {
    processor->queue.put(fiber, false, spill_locked);
}

}  // namespace

void global_put_list(Fiber* first) {
    {
        LockGuard guard(g_scheduler.lock);
        while (first != nullptr) {
            Fiber* fiber = first;
            first = fiber->queue_next;
            fiber->state.store(FiberState::kRunnable, std::memory_order_relaxed);
            g_scheduler.global.push_back(fiber);
        }
        g_scheduler.global.mark_spill();
    }
    wake_worker();  // whoever comes wakes the next (W4)
}

// In a crowd a yielder waits behind those that did not fit into a ring: at the tail of its own it
// would push others there, again and again the same ones.  False: no crowd, and nothing was done.
// Go's Gosched always does so, and takes the lock for it.
bool join_spilled(Fiber* fiber) {
    const Processor* mine = worker_of_thread()->processor;
    if (g_scheduler.global.is_empty() || mine == nullptr ||
        mine->queue.size() < RunQueue<Platform, Fiber>::kCapacity / 2)
        return false;
    {
        LockGuard guard(g_scheduler.lock);
        if (g_scheduler.global.spilled() == 0) return false;
        fiber->state.store(FiberState::kRunnable, std::memory_order_relaxed);
        g_scheduler.global.push_back(fiber);
        g_scheduler.global.mark_spill();
    }
    wake_worker();
    return true;
}

int32_t ring_room(const Processor* processor) {
    return static_cast<int32_t>(RunQueue<Platform, Fiber>::kCapacity - processor->queue.size());
}

void spill(Fiber** batch, uint32_t count) {
    LockGuard guard(g_scheduler.lock);
    spill_locked(batch, count);
}

// Takes a fair share; the first is returned, the others go to the processor's ring (which has room:
// at most half of its capacity is taken, and the owner calls this with an almost empty ring).
Fiber* global_take(Processor* processor, int limit) {
    FiberList& global = g_scheduler.global;
    const int length = global.size.load(std::memory_order_relaxed);
    if (length == 0) return nullptr;
    int count = length / g_scheduler.processor_count + 1;
    if (count > length) count = length;
    constexpr int kMost = RunQueue<Platform, Fiber>::kCapacity / 2;
    if (count > kMost) count = kMost;
    if (limit > 0 && count > limit) count = limit;
    return global.take(count, [processor](Fiber* fiber) { put_locked(processor, fiber); });
}

namespace {

// A next slot is left to its processor for a moment, because that usually runs it within 50 ns. The
// thief sleeps meanwhile and still counts as spinning: a pair of fibers that wake each other would
// else pay for waking a worker that finds nothing every few microseconds.  Once in a search: what
// is submitted meanwhile waits for it, and there may be a pair on every processor. Go: the usleep
// in runqgrab.
bool next_slot_stays(Worker* worker, const Processor* victim, bool* has_rested) {
    if (victim->status.load(std::memory_order_relaxed) != ProcessorStatus::kRunning) return true;
    if (*has_rested) return false;
    *has_rested = true;
    // Nobody posts to a worker that is not idle.
    Platform::futex_wait(worker->wake_word, 0, Platform::now_ns() + kThiefRestNs);
    constexpr int kSpins = 60;  // sees a slot that is emptied and filled again and again
    for (int i = 0; i < kSpins; i++) {
        if (!victim->queue.has_next()) return false;
        Platform::pause();
    }
    return true;
}

// has_rested: null where the next slot is not to be taken.
Fiber* steal_from(Worker* worker, Processor* victim, bool* has_rested) {
    const bool take_next = has_rested != nullptr;
    Processor* thief = worker->processor;
    Fiber* batch[RunQueue<Platform, Fiber>::kCapacity / 2];
    // What came into the ring meanwhile is taken in any case.
    if (take_next && victim->queue.size() == 0 &&
        (!victim->queue.has_next() || !next_slot_stays(worker, victim, has_rested)) &&
        victim->queue.size() == 0)
        return nullptr;
    const uint32_t count = victim->queue.grab(batch, take_next);
    if (count == 0) return nullptr;
    COUNT_ADD(steals, count);
    for (uint32_t i = 0; i + 1 < count; i++) thief->queue.put(batch[i], false, spill);
    return batch[count - 1];
}

// Rounds over all processors in a random coprime order; the last one takes next slots and runs
// overdue timers.  *ran_timers asks the caller to look at its own queue again.
Fiber* steal_work(Worker* worker, int64_t now, bool* ran_timers) {
    Processor* mine = worker->processor;
    const auto count = static_cast<uint32_t>(g_scheduler.processor_count);
    constexpr int kRounds = 4;
    bool has_rested = false;
    for (int round = 0; round < kRounds; round++) {
        const bool is_last = round == kRounds - 1;
        VictimOrder order(count, &worker->random);
        for (uint32_t i = 0; i < count; i++) {
            Processor* victim = g_scheduler.processors[order.next()];
            if (victim == mine) continue;
            if (is_last && victim->timers.earliest_ns() <= now && run_timers(victim, now))
                *ran_timers = true;
            if (*ran_timers) return nullptr;
            // Not by its status: one that is handed over is marked idle and may hold work.
            if (Fiber* fiber = steal_from(worker, victim, is_last ? &has_rested : nullptr))
                return fiber;
        }
    }
    return nullptr;
}

// Steals events: an instance with waiters that its own processor has not looked at for a while.
Fiber* poll_others(Processor* mine, int64_t now) {
    constexpr int64_t kStaleNs = 50000;
    for (int i = 0; i < g_scheduler.made_count; i++) {
        Processor* other = g_scheduler.processors[i];
        if (other == mine || other->poller.waiters.load(std::memory_order_relaxed) == 0) continue;
        if (now - other->poller.last_poll_ns.load(std::memory_order_relaxed) < kStaleNs) continue;
        if (Fiber* fibers = poll_ready(other)) return fibers;
    }
    return nullptr;
}

// First of a list for the caller, the others made runnable.
Fiber* first_and_ready_rest(Fiber* list) {
    Fiber* rest = list->queue_next;
    list->queue_next = nullptr;
    ready_list(rest);
    list->state.store(FiberState::kRunnable, std::memory_order_relaxed);
    return list;
}

bool any_queue_has_work() {
    if (!g_scheduler.global.is_empty()) return true;
    for (int i = 0; i < g_scheduler.processor_count; i++)
        if (!g_scheduler.processors[i]->queue.is_empty()) return true;
    return false;
}

// Work that shows up while the processor is being given up.  True: it has a processor again.
bool recheck_after_release(Worker* worker) {
    if (!any_queue_has_work() && earliest_timer_ns() > Platform::now_ns()) return false;
    LockGuard guard(g_scheduler.lock);
    Processor* processor = take_idle_processor();
    if (processor == nullptr) {
        g_scheduler.need_spinning.store(1);
        return false;
    }
    acquire_processor(worker, processor);
    worker->is_spinning = true;
    g_scheduler.spinning.fetch_add(1);
    return true;
}

// What the sleeper woke up for may be another processor's, whose worker is busy or which is idle.
// Left to stealing it would wait until this worker may spin, which looks for it again and again
// meanwhile (some 25 times for each timer of ten fibers that sleep for 1 ms).  Behind `fibers`,
// which became ready before.
Fiber* add_expired(Fiber* fibers, int64_t now) {
    Fiber** tail = &fibers;
    for (int i = 0; i < g_scheduler.processor_count; i++) {
        while (*tail != nullptr) tail = &(*tail)->queue_next;
        Processor* processor = g_scheduler.processors[i];
        if (processor->timers.earliest_ns() <= now) *tail = take_expired(processor, now);
    }
    return fibers;
}

// How long it was since the sleeper left; an outlier is forgotten after some ten shorter ones.  On
// a busy machine it may have waited for its CPU most of the time.
void note_absence(Worker* worker, int64_t now) {
    const int64_t left = worker->left_pollers_ns;
    if (left == 0) return;
    worker->left_pollers_ns = 0;
    int64_t absence = now - left;
    if (worker->left_cpu_ns >= 0) {
        const int64_t worked = host::clock_ns(CLOCK_THREAD_CPUTIME_ID) - worker->left_cpu_ns;
        if (worked < absence) absence = worked;
    }
    const int64_t before = g_scheduler.absence_ns.load(std::memory_order_relaxed);
    if (absence < before) absence = before - before / 4;
    if (absence > kLongestAbsenceNs) absence = kLongestAbsenceNs;
    g_scheduler.absence_ns.store(absence, std::memory_order_relaxed);
}

// The monitor, which left the timers that come next to the sleeper, is to look in time (T1) for one
// within (after, until).
void leave_timers_to_monitor(int64_t after, int64_t until) {
    const int64_t next = earliest_timer_ns();
    if (next > after && next < until && next + kYieldLookNs < g_scheduler.monitor_looks_ns.load())
        wake_monitor();
}

// The sleeper leaves with work, which may last, and nobody sees what comes next.  Where that would
// be long, the next worker sleeps there; it is woken for nothing otherwise, each time.  The
// monitor is told of a timer that comes meanwhile; not after a deadline, which many short sleeps
// end with: there this worker is back in the pollers soon, or the monitor finds out 4 ms later.
void leave_pollers(Worker* worker, int64_t now, bool with_events) {
    constexpr int64_t kUnattendedNs = 1000000;
    worker->left_pollers_ns = now;
    const int64_t absence = g_scheduler.absence_ns.load(std::memory_order_relaxed);
    worker->left_cpu_ns = -1;
    if (absence >= kUnattendedNs) {
        worker->left_cpu_ns = host::clock_ns(CLOCK_THREAD_CPUTIME_ID);
        if (g_scheduler.idle_processor_count.load() > 0) wake_worker();
    }
    if (with_events) leave_timers_to_monitor(now, now + 2 * absence + kYieldLookNs);
}

// Last resort of an idle worker: one of them sleeps in the pollers until an event or the earliest
// timer.  Null: nothing for this worker, or another one sleeps there already.
Fiber* sleep_for_events(Worker* worker, bool* retry) {
    const int64_t deadline = earliest_timer_ns();
    int64_t nobody = 0;
    // Published before the last look at the timers: an earlier one armed from now on breaks it
    // (T1).
    if (!g_scheduler.sleeper_deadline_ns.compare_exchange_strong(nobody, deadline)) {
        if (deadline < nobody) break_sleeper();
        return nullptr;
    }
    const int64_t again = earliest_timer_ns();
    if (runtime_callbacks.worker_mask != nullptr) runtime_callbacks.worker_mask(worker);
    Fiber* fibers = poll_sleep(again < deadline ? again : deadline);
    g_scheduler.sleeper_deadline_ns.store(0);
    if (fibers != nullptr && runtime_callbacks.pass_on_signals != nullptr)
        runtime_callbacks.pass_on_signals();
    Processor* processor = nullptr;
    {
        LockGuard guard(g_scheduler.lock);
        processor = take_idle_processor();
        if (processor == nullptr) g_scheduler.need_spinning.store(1);
    }
    if (processor == nullptr) {
        for (Fiber* fiber = fibers; fiber != nullptr;) {
            Fiber* rest = fiber->queue_next;
            fiber->state.store(FiberState::kRunnable, std::memory_order_relaxed);
            global_put(fiber);
            fiber = rest;
        }
        // Also those that are due: it finds a processor for them.
        leave_timers_to_monitor(0, kNever - kYieldLookNs);
        return nullptr;
    }
    acquire_processor(worker, processor);
    *retry = true;
    const int64_t now = Platform::now_ns();
    const bool with_events = fibers != nullptr;
    fibers = add_expired(fibers, now);
    if (fibers == nullptr) return nullptr;
    leave_pollers(worker, now, with_events);
    return first_and_ready_rest(fibers);
}

// Fairness across processors (W6): a busy processor never runs out of its own events, so it would
// never steal while its neighbour's worker waits for a CPU, and the neighbour's connections would
// starve.  One neighbour is watched at a time; if it has not started a fiber for a while, half of
// its queue and its events come here first.
Fiber* help_stalled(Worker* worker, int64_t now) {
    constexpr int64_t kStalledNs = 1000000;
    const int count = g_scheduler.processor_count;
    if (count == 1) return nullptr;
    Processor* mine = worker->processor;
    Processor* other = g_scheduler.processors[worker->watched % count];
    const uint32_t tick = other->schedule_tick.load(std::memory_order_relaxed);
    if (other == mine || tick != worker->watched_tick ||
        other->status.load(std::memory_order_relaxed) == ProcessorStatus::kIdle) {
        if (other == mine || count > 2) worker->watched++;
        other = g_scheduler.processors[worker->watched % count];
        worker->watched_tick = other->schedule_tick.load(std::memory_order_relaxed);
        worker->watched_since_ns = now;
        return nullptr;
    }
    if (now - worker->watched_since_ns < kStalledNs) return nullptr;
    worker->watched_since_ns = now;
    Fiber* queued = steal_from(worker, other, nullptr);
    if (queued != nullptr) return queued;
    if (other->poller.waiters.load(std::memory_order_relaxed) == 0) return nullptr;
    Fiber* list = poll_ready(other);
    return list == nullptr ? nullptr : first_and_ready_rest(list);
}

// A fiber that does not inherit the running slice starts; only the owner of the processor counts.
void count_start(Processor* processor) {
    processor->schedule_tick.store(processor->schedule_tick.load(std::memory_order_relaxed) + 1,
                                   std::memory_order_relaxed);
}

// Every 61st start: the global queue and the poller have their turn although the ring is not empty.
// While fibers wait that did not fit into a ring, no look at the poller: it would refill the ring
// before they have had their turn, with fibers that became ready after them (1,000 busy connections
// had shares from 0.3 to 2.3 of the median, with a p99 of 180 ms instead of 8).  It waits for those
// that were there when it was due, not for what is spilled meanwhile: where more fibers yield than
// fit, some are spilled all the time, and events would wait for the monitor.
Fiber* look_around(Processor* processor, int64_t now) {
    constexpr int64_t kPollEveryNs = 20000;
    Fiber* fiber = nullptr;
    int32_t overtaken = 0;
    if (!g_scheduler.global.is_empty()) {
        LockGuard guard(g_scheduler.lock);
        const FiberList& global = g_scheduler.global;
        const int32_t room = ring_room(processor);
        int32_t limit = static_cast<int32_t>(kFairnessTick);
        const int32_t spilled = global.spilled();
        if (limit > spilled) limit = spilled;
        if (limit > room) limit = room;
        if (processor->look_after == 0) processor->look_after = global.end_of_spill();
        overtaken = global.left_before(processor->look_after);
        fiber = global_take(processor, limit > 1 ? limit : 1);
    }
    if (overtaken > 0) return fiber;
    processor->look_after = 0;
    if (processor->poller.waiters.load(std::memory_order_relaxed) > 0 &&
        now - processor->poller.last_poll_ns.load(std::memory_order_relaxed) > kPollEveryNs)
        ready_list(poll_ready(processor));
    return fiber;
}

// Somebody gave up the rest of a turn: what is ready does not wait for 61 turns, and the first of
// it has its turn before others that do the same (Go issues 51651, 56060).  Null as well while
// fibers wait that did not fit into a ring, see look_around().
Fiber* look_for_events(Processor* processor, int64_t now) {
    const Poller& poller = processor->poller;
    if (processor->look_after != 0 || poller.waiters.load(std::memory_order_relaxed) <= 0 ||
        now - poller.last_poll_ns.load(std::memory_order_relaxed) <= kYieldLookNs)
        return nullptr;
    if (!g_scheduler.global.is_empty()) {
        LockGuard guard(g_scheduler.lock);
        if (g_scheduler.global.spilled() > 0) return nullptr;
    }
    Fiber* list = poll_ready(processor);
    return list == nullptr ? nullptr : first_and_ready_rest(list);
}

// The turn of those who are looked for at times only, although the ring is not empty.
Fiber* find_due(Processor* processor, uint32_t look, int64_t now) {
    const uint32_t tick = processor->schedule_tick.load(std::memory_order_relaxed);
    const bool is_due = tick % kFairnessTick == 0;
    if (look == kLookForEvents) {
        if (Fiber* fiber = look_for_events(processor, now)) {
            if (!is_due) count_start(processor);  // else the next start is still the 61st
            return fiber;
        }
    }
    if (!is_due) return nullptr;
    count_start(processor);
    return look_around(processor, now);
}

// One pass with the processor in hand.
Fiber* find_with_processor(Worker* worker, int64_t* now) {
    Processor* processor = worker->processor;
    const uint32_t look = processor->look_around.load(std::memory_order_relaxed);
    processor->look_around.store(0, std::memory_order_relaxed);
    *now = Platform::now_ns();
    processor->now_ns.store(*now, std::memory_order_relaxed);
    const bool is_timed = processor->timers.earliest_ns() <= *now && run_timers(processor, *now);
    if (worker->handed != nullptr) {
        Fiber* fiber = worker->handed;
        worker->handed = nullptr;
        return fiber;
    }
    if (Fiber* fiber = find_due(processor, look, *now)) {
        if (!is_timed) return fiber;
        // Somebody in the next slot is late already.
        processor->queue.put(fiber, false, spill);
    }
    bool inherits = false;
    if (Fiber* fiber = processor->queue.get(&inherits)) {
        if (!inherits) count_start(processor);
        return fiber;
    }
    if (!g_scheduler.global.is_empty()) {
        LockGuard guard(g_scheduler.lock);
        if (Fiber* fiber = global_take(processor, 0)) return count_start(processor), fiber;
    }
    if (Fiber* fiber = help_stalled(worker, *now)) return count_start(processor), fiber;
    if (processor->poller.waiters.load(std::memory_order_relaxed) > 0)
        if (Fiber* list = poll_ready(processor))
            return count_start(processor), first_and_ready_rest(list);
    return nullptr;
}

// Go: gcstopm.  With the processor goes what was found for it.
void stop_for_world(Worker* worker) {
    Processor* processor = worker->processor;
    if (worker->handed != nullptr) {
        processor->queue.put(worker->handed, true, spill);
        worker->handed = nullptr;
    }
    // First, as everywhere (W3): who submits from now on does not count on us.  What was left to us
    // is seen by the stopper when it starts the world, or by us if it has done so.
    if (worker->is_spinning) {
        worker->is_spinning = false;
        g_scheduler.spinning.fetch_sub(1);
    }
    worker->processor = nullptr;
    if (!g_scheduler.give_to_stopper(processor)) worker->processor = processor;
}

}  // namespace

Fiber* find_runnable(Worker* worker) {
    for (;;) {
        if (worker->processor == nullptr) {
            stop_worker(worker);
            continue;
        }
        if (g_scheduler.stop_requested.load() != 0) {
            stop_for_world(worker);
            continue;
        }
        int64_t now = 0;
        if (Fiber* fiber = find_with_processor(worker, &now)) return fiber;
        note_absence(worker, now);
        count_start(worker->processor);  // whatever is found from here on starts a slice of its own
        const int busy = g_scheduler.processor_count -
                         g_scheduler.idle_processor_count.load(std::memory_order_relaxed);
        if (worker->is_spinning || 2 * g_scheduler.spinning.load() < busy) {
            if (!worker->is_spinning) {
                worker->is_spinning = true;
                g_scheduler.spinning.fetch_add(1);
            }
            bool ran_timers = false;
            if (Fiber* fiber = steal_work(worker, now, &ran_timers)) return fiber;
            if (ran_timers) continue;
            if (Fiber* list = poll_others(worker->processor, now))
                return first_and_ready_rest(list);
        }
        {
            LockGuard guard(g_scheduler.lock);
            if (!g_scheduler.global.is_empty()) continue;
            if (!worker->is_spinning && g_scheduler.need_spinning.load() != 0) {
                worker->is_spinning = true;
                g_scheduler.spinning.fetch_add(1);
                g_scheduler.need_spinning.store(0);
                continue;
            }
            put_idle_processor(release_processor(worker));
        }
        Platform::chaos_point();
        const bool was_spinning = worker->is_spinning;
        worker->is_spinning = false;
        if (g_scheduler.must_look_again(was_spinning) && recheck_after_release(worker)) continue;
        bool retry = false;
        if (Fiber* fiber = sleep_for_events(worker, &retry)) return fiber;
        if (retry) continue;
        stop_worker(worker);
    }
}

}  // namespace pfiber
