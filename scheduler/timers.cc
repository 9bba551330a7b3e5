// Timed waits: arming, disarming and running the deadlines of a processor (timer_heap.h).
//
// A waiter arms its timer after it opened its wait and before it leaves its stack; the claim
// decides between the deadline and everybody else.  Timers whose wait is over stay in the heap with
// deadline 0 until their key comes up.
#include <sys/mman.h>

#include "scheduler/scheduler.h"

namespace pfiber {

void* TimerMemory::resize(void* old, size_t old_bytes, size_t new_bytes) {
    long grown;
    if (old == nullptr)
        grown = host::raw_mmap(nullptr, new_bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    else
        grown = host::raw_syscall(SYS_mremap, old, old_bytes, new_bytes, MREMAP_MAYMOVE);
    return host::is_error(grown) ? nullptr : reinterpret_cast<void*>(grown);
}

void timer_arm(Fiber* fiber, int64_t deadline_ns) {
    FiberTimer& timer = fiber->timer;
    timer.fiber = fiber;
    if (deadline_ns <= 0) deadline_ns = 1;  // 0 means "no deadline"; the past is due at once
    timer.arm(fiber->park.open_sequence(), deadline_ns);
    // Only this fiber inserts it, and it has a processor, so the world is not stopped: the owner
    // can change from a processor to none but not to another.
    const int owner = timer.link.heap_owner;
    if (owner >= 0) {
        Processor* processor = g_scheduler.processors[owner];
        LockGuard guard(processor->timer_lock);
        if (timer.link.index != 0) {
            if (deadline_ns < timer.link.key_ns) processor->timers.update(&timer, deadline_ns);
            return;
        }
    }
    Processor* processor = fiber->worker->processor;
    LockGuard guard(processor->timer_lock);
    timer.link.heap_owner = static_cast<int16_t>(processor->id);
    processor->timers.insert(&timer, deadline_ns);
}

void timer_disarm(Fiber* fiber) { fiber->timer.disarm(); }

void timer_forget(Fiber* fiber) {
    FiberTimer& timer = fiber->timer;
    if (timer.link.heap_owner < 0) return;
    Processor* processor = g_scheduler.processors[timer.link.heap_owner];
    LockGuard guard(processor->timer_lock);
    if (timer.link.index != 0) processor->timers.remove(&timer);
    timer.link.heap_owner = -1;
}

Fiber* take_expired(Processor* processor, int64_t now_ns) {
    Fiber* expired = nullptr;
    Fiber** tail = &expired;
    {
        LockGuard guard(processor->timer_lock);
        while (FiberTimer* timer = processor->timers.top()) {
            if (timer->link.key_ns > now_ns) break;
            // A deadline that is newer than the sequence puts itself in again, after this lock.
            const auto [sequence, deadline] = timer->read();
            Platform::chaos_point();
            if (deadline > now_ns) {
                processor->timers.update(timer, deadline);
                continue;
            }
            processor->timers.remove(timer);
            if (deadline == 0) continue;  // that wait ended long ago
            Fiber* fiber = timer->fiber;
            if (fiber->park.claim(sequence, Wake::kTimeout) ==
                ParkWord<Platform>::Claim::kMustReady) {
                *tail = fiber;
                fiber->queue_next = nullptr;
                tail = &fiber->queue_next;
            }
        }
    }
    return expired;
}

bool run_timers(Processor* processor, int64_t now_ns) {
    Fiber* expired = take_expired(processor, now_ns);
    if (expired == nullptr) return false;
    // Who has waited for a time is late already: the earliest goes to the next slot, as in Go.
    Fiber* rest = expired->queue_next;
    expired->queue_next = nullptr;
    ready_list(rest);
    ready(expired, true);
    return true;
}

bool timers_reserve(Processor* processor, size_t more) {
    LockGuard guard(processor->timer_lock);
    return processor->timers.reserve(more);
}

// One at a time, so that no second list of them is needed.  Those that nobody sees between the two
// locks are seen before the world starts, which breaks the sleeper's sleep (T1).
void timers_move(Processor* from, Processor* to) {
    for (;;) {
        FiberTimer* timer;
        {
            LockGuard guard(from->timer_lock);
            timer = from->timers.top();
            if (timer == nullptr) return;
            from->timers.remove(timer);
            timer->link.heap_owner = static_cast<int16_t>(to->id);
        }
        LockGuard guard(to->timer_lock);
        to->timers.insert(timer, timer->link.key_ns);
    }
}

int64_t earliest_timer_ns() {
    int64_t earliest = kNever;
    for (int i = 0; i < g_scheduler.processor_count; i++) {
        const int64_t key = g_scheduler.processors[i]->timers.earliest_ns();
        if (key < earliest) earliest = key;
    }
    return earliest;
}

}  // namespace pfiber
