// Waiting keyed by an address: the base of every synchronisation object and of private futexes.
//
// A table of buckets, each a lock and a FIFO of waiters.  Fibers park, foreign kernel threads sleep
// on a futex; both can be woken by both.  Invariant Q3: the validation runs under the bucket's lock,
// and a waker that changed the word before it takes the lock either is seen by the validation or
// sees the waiter.  A waiter is unlinked before it is claimed; its node is its own from then on.
// Wakers touch nothing of the object but its address.
// Go: semaRoot; WebKit: ParkingLot.
#pragma once

#include <cstdint>

#include "scheduler/fiber.h"

namespace pfiber {

constexpr uint32_t kAnyBits = 0xffffffff;

struct WaitResult {
    bool validated = true;     // false: the validation failed, nothing was waited for
    Wake outcome = Wake::kReady;
    int64_t waited_ns = 0;     // for starvation rules; 0 when not measured
};

using Validate = bool (*)(const void* address, void* argument);

// Waits until wake_address() picks the caller, `deadline_ns`, or an interruption.  `validate` is
// called with the bucket locked; false means "do not wait".  `after_enqueue` (may be null) is called
// once the caller is on the queue and the bucket is unlocked, before it sleeps: a condition variable
// unlocks its mutex there.  `bits` restrict which wakers match.
// On a fiber: in the runtime.  On a foreign thread or before the start: sleeps in the kernel.
WaitResult wait_on_address(const void* address, Validate validate, void* argument,
                           void (*after_enqueue)(void*), int64_t deadline_ns, WaitReason reason,
                           uint32_t bits = kAnyBits);

// Wakes up to `count` waiters in FIFO order whose bits match; returns how many.  `on_wake` (may be
// null) runs for each under the bucket's lock before it can run on: counts in the object are settled
// there.  The first woken fiber goes to the next slot.
int wake_address(const void* address, int count, uint32_t bits = kAnyBits,
                 void (*on_wake)(void*) = nullptr, void* argument = nullptr);

// Wakes up to `wake_count`, moves up to `move_count` others to `target`.  With `validate`, returns -1
// and does nothing when it fails under the lock.  Else the number woken, plus moved in *moved.
int requeue_address(const void* address, int wake_count, const void* target, int move_count,
                    Validate validate, void* argument, int* moved);

void wait_queues_reset_after_fork();

}  // namespace pfiber
