// Waiting keyed by an address: the base of every synchronisation object and of private futexes.
//
// Fibers park, foreign kernel threads (and every thread before the start) sleep on a futex of their
// own; both can be woken by both.  The queues themselves are in wait_bucket.h; the validation runs
// under the bucket's lock (Q3), whoever unlinks a waiter settles the object's counts for it (Q4).
// Wakers touch nothing of the object but its address.
#pragma once

#include <cstdint>

#include "scheduler/fiber.h"

namespace pfiber {

constexpr uint32_t kAnyBits = 0xffffffff;

struct WaitResult {
    bool validated = true;  // false: the validation failed, nothing was waited for
    bool handed = false;    // the waker gave the object itself (release_address)
    Wake outcome = Wake::kReady;
};

using Validate = bool (*)(const void* address, void* argument);

struct WaitRequest {
    const void* address = nullptr;
    // With the bucket locked; false means "do not wait".  May change the object.
    Validate validate = nullptr;
    void* argument = nullptr;
    // Once the caller is on the queue and the bucket is unlocked, before it sleeps: a condition
    // variable unlocks its mutex there.
    void (*after_enqueue)(void* argument) = nullptr;
    // With the bucket locked, when the caller leaves the queue by itself (deadline, interruption).
    void (*on_leave)(void* argument) = nullptr;
    int64_t deadline_ns = kNever;
    WaitReason reason = WaitReason::kFutex;
    uint32_t bits = kAnyBits;      // which wakers match
    int64_t since_ns = 0;          // when the wait as a whole began (fairness); 0: now
    uint32_t identity = 0;         // for release_address's `hand`
    bool at_front = false;         // it waited before and lost
    bool release_others = false;   // a failed validation wakes everybody else, in one step with it
    bool* was_unlinked = nullptr;  // told whether a waker took the caller off, however it woke up
};

// Waits until a waker picks the caller, the deadline, or an interruption.  On a fiber: in the
// runtime.  On a foreign thread or before the start: sleeps in the kernel; kSignal means that a
// handler ran.
WaitResult wait_on_address(const WaitRequest& request);

// The same for the usual members.
inline WaitResult wait_on_address(const void* address, Validate validate, void* argument,
                                  void (*after_enqueue)(void*), int64_t deadline_ns,
                                  WaitReason reason, uint32_t bits = kAnyBits) {
    WaitRequest request;
    request.address = address;
    request.validate = validate;
    request.argument = argument;
    request.after_enqueue = after_enqueue;
    request.deadline_ns = deadline_ns;
    request.reason = reason;
    request.bits = bits;
    return wait_on_address(request);
}

// Wakes up to `count` waiters in FIFO order whose bits match; returns how many.  `settle` (may be
// null) runs for each one that is taken off the queue, under the bucket's lock, before it can run
// on.  The first woken fiber goes to the next slot.  Any thread; in a program's signal handler too.
int wake_address(const void* address, int count, uint32_t bits = kAnyBits,
                 void (*settle)(void*) = nullptr, void* argument = nullptr);

// Unlocking a contended object.  When the oldest waiter has waited longer than a millisecond, it
// gets the object as it is (WaitResult::handed); else `release(argument)`, a full barrier, frees
// the object and the oldest waiter is woken to compete for it.  `hand(argument, identity)` (may be
// null) writes the new owner, by the identity in its request, before it runs; it may be called
// again for another, and `release` after it, when a waiter gives up at that moment.
void release_address(const void* address, void (*release)(void*), void* argument,
                     void (*hand)(void*, uint32_t) = nullptr);

// Wakes up to `wake_count`, moves up to `move_count` others to `target`.  With `validate`, returns
// -1 and does nothing when it fails under the lock.  Else the number woken, plus moved in *moved.
int requeue_address(const void* address, int wake_count, const void* target, int move_count,
                    Validate validate, void* argument, int* moved);

// True when a lock's holder may be running right now and the caller keeps nobody from running by
// turning round a few times (Go: sync_runtime_canSpin).
bool spinning_may_help(const Fiber* fiber);

// In a fork child, the only thread: every waiter is another process's.
void wait_queues_reset_after_fork();
uint32_t wait_queues_fork_generation();  // of the process: one more in each child

}  // namespace pfiber
