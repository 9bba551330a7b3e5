// The ring of waiters of one descriptor, for poller.cc and descriptor_closing.cc only.  The
// descriptor is locked around every call.
#pragma once

#include "scheduler/poller.h"
#include "scheduler/scheduler.h"

namespace pfiber {

inline Poller& poller_of(const Descriptor* descriptor) {
    return g_scheduler.processors[descriptor->poller - 1]->poller;
}

inline void link(Descriptor* descriptor, IoWaiter* waiter) {
    if (descriptor->waiters == nullptr) {
        waiter->next = waiter->prev = waiter;
        descriptor->waiters = waiter;
    } else {
        IoWaiter* first = descriptor->waiters;
        waiter->next = first;
        waiter->prev = first->prev;
        first->prev->next = waiter;
        first->prev = waiter;
    }
    waiter->descriptor.store(descriptor, std::memory_order_release);
    poller_of(descriptor).waiters.fetch_add(1);
}

// Off the ring; its owner still waits for the lock in unlink_all() until `descriptor` is cleared.
inline void unlink_keeping_link(Descriptor* descriptor, IoWaiter* waiter) {
    if (waiter->next == waiter) {
        descriptor->waiters = nullptr;
    } else {
        waiter->next->prev = waiter->prev;
        waiter->prev->next = waiter->next;
        if (descriptor->waiters == waiter) descriptor->waiters = waiter->next;
    }
    poller_of(descriptor).waiters.fetch_sub(1);
}

inline void unlink(Descriptor* descriptor, IoWaiter* waiter) {
    unlink_keeping_link(descriptor, waiter);
    waiter->descriptor.store(nullptr, std::memory_order_release);
}

// Descriptor locked.  Wakes every poll-like waiter for `directions` and one exclusive waiter for
// each direction.  A waiter is unlinked before it is claimed: from the claim on its memory is its
// own.
inline void wake_waiters(Descriptor* descriptor, uint8_t directions, Wake outcome, Fiber*** tail) {
    uint8_t exclusive_left = directions;
    IoWaiter* waiter = descriptor->waiters;
    if (waiter == nullptr) return;
    IoWaiter* const last = waiter->prev;
    for (;;) {
        IoWaiter* next = waiter->next;
        const bool at_end = waiter == last;
        const uint8_t wanted = waiter->directions & directions;
        if (wanted != 0 && (!waiter->is_exclusive || (wanted & exclusive_left) != 0)) {
            const bool is_exclusive = waiter->is_exclusive;
            Fiber* fiber = waiter->who.fiber;
            const uint32_t sequence = waiter->who.sequence;
            unlink(descriptor, waiter);
            const auto claim = fiber->park.claim(sequence, outcome);
            if (claim != ParkWord<Platform>::Claim::kFailed && is_exclusive)
                exclusive_left = static_cast<uint8_t>(exclusive_left & ~wanted);
            if (claim == ParkWord<Platform>::Claim::kMustReady && fiber->runs_beside) {
                ready(fiber, true);
            } else if (claim == ParkWord<Platform>::Claim::kMustReady) {
                fiber->queue_next = nullptr;
                **tail = fiber;
                *tail = &fiber->queue_next;
            }
        }
        if (at_end) return;
        waiter = next;
    }
}

}  // namespace pfiber
