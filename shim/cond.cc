// Condition variables: a waiter count for signallers that find nobody, and the wait queue.
//
// The count is raised under the bucket's lock before the mutex is released, and lowered under that
// lock by whoever takes the waiter off the queue: so a woken waiter touches the object no more, and
// it may be destroyed right after a broadcast.  A waiter that was signalled returns normally even
// if a cancellation is pending; one that was not has consumed no signal.
//
// A signal handler takes its thread off the queue, but not out of the wait: it stays counted, and
// goes back unless somebody signalled since it began to wait, which each signaller leaves word of.
// pthread_cond_destroy waits for such threads, as libc's does for all.
#include "shim/cond.h"

#include <errno.h>

#include "scheduler/wait_queue.h"
#include "shim/interrupt.h"
#include "shim/libc_sync.h"

namespace pfiber::shim {

namespace {

struct Waiting {
    Cond* cond;
    Mutex* mutex;
    uint64_t signals_before = 0;   // how many there had been when it joined
    bool is_interrupted = false;   // a handler runs, or ran, in this wait
    bool missed_a_signal = false;  // somebody signalled meanwhile
};

uint64_t signals_so_far(Cond* cond) { return __atomic_load_n(&cond->sequence, __ATOMIC_SEQ_CST); }

bool join_queue(const void*, void* argument) {
    auto* waiting = static_cast<Waiting*>(argument);
    if (waiting->is_interrupted) {
        waiting->missed_a_signal = signals_so_far(waiting->cond) != waiting->signals_before;
        return !waiting->missed_a_signal;
    }
    waiting->signals_before = signals_so_far(waiting->cond);
    waiting->cond->set_mutex(waiting->mutex);
    waiting->cond->waiters.fetch_add(Cond::kOneWaiter, std::memory_order_seq_cst);
    return true;
}

void leave_queue(void* argument) {
    auto* waiting = static_cast<Waiting*>(argument);
    const Fiber* fiber = current_fiber();
    if (fiber == nullptr || fiber->park.outcome() != Wake::kSignal) {
        waiting->cond->waiters.fetch_sub(Cond::kOneWaiter, std::memory_order_relaxed);
    } else if (!waiting->is_interrupted) {
        waiting->is_interrupted = true;
        __atomic_fetch_add(waiting->cond->interrupted(), 1, __ATOMIC_SEQ_CST);
    }
}

// The end of a wait that a handler interrupted; `is_counted`: nobody took it off the queue for
// good.
void end_interrupted(Cond* cond, bool is_counted) {
    if (is_counted) cond->waiters.fetch_sub(Cond::kOneWaiter, std::memory_order_relaxed);
    uint32_t* const word = cond->interrupted();
    if (__atomic_fetch_sub(word, 1, __ATOMIC_SEQ_CST) == 1) {
        OptionalSection section;
        wake_address(word, INT32_MAX);
    }
}

bool is_anybody_interrupted(const void* word, void*) {
    return __atomic_load_n(static_cast<const uint32_t*>(word), __ATOMIC_SEQ_CST) != 0;
}

struct Waking {
    Cond* cond;
    uint32_t self;
    bool holds_mutex = false;
};

// The waiter is on the queue still, so its mutex is there.
void settle(void* argument) {
    auto* waking = static_cast<Waking*>(argument);
    waking->cond->waiters.fetch_sub(Cond::kOneWaiter, std::memory_order_relaxed);
    if (waking->cond->mutex()->owner.load(std::memory_order_relaxed) == waking->self)
        waking->holds_mutex = true;
}

void release_mutex(void* argument) {
    mutex_unlock_for_wait(static_cast<Waiting*>(argument)->mutex);
}

bool is_shared(const Cond* cond) {
    return (cond->waiters.load(std::memory_order_relaxed) & Cond::kShared) != 0;
}

// libc will release the mutex, perhaps in another process's favour.
int wait_shared(Fiber* fiber, Cond* cond, Mutex* mutex, TimeLimit limit) {
    const LibcSync& libc = libc_sync();
    auto* cond_object = reinterpret_cast<pthread_cond_t*>(cond);
    auto* mutex_object = reinterpret_cast<pthread_mutex_t*>(mutex);
    if ((mutex->kind & Mutex::kShared) == 0) mutex_wait_in_kernel(mutex);
    if (fiber != nullptr) cancellation_point(fiber);
    LibcWait wait(cond->group_signals);
    return limit.time == nullptr
               ? libc.pthread_cond_wait(cond_object, mutex_object)
               : libc.pthread_cond_clockwait(cond_object, mutex_object, limit.clock, limit.time);
}

bool may_release(const Mutex* mutex) {
    const int type = mutex->kind & Mutex::kTypeMask;
    const bool checks = type == Mutex::kRecursive || type == Mutex::kErrorcheck ||
                        (mutex->kind & (Mutex::kInherit | Mutex::kRobust)) != 0;
    if (!checks || (mutex->kind & Mutex::kShared) != 0) return true;
    if ((mutex->kind & Mutex::kRobust) != 0)
        return (mutex->word.load(std::memory_order_relaxed) & Mutex::kTid) == self_tid();
    return mutex->owner.load(std::memory_order_relaxed) == self_tid();
}

int wake_shared(Cond* cond, int count) {
    auto* object = reinterpret_cast<pthread_cond_t*>(cond);
    return count == 1 ? libc_sync().pthread_cond_signal(object)
                      : libc_sync().pthread_cond_broadcast(object);
}

int wake(Cond* cond, int count) {
    const uint32_t waiters = cond->waiters.load(std::memory_order_seq_cst);
    if ((waiters & Cond::kShared) != 0) return wake_shared(cond, count);
    if (waiters < Cond::kOneWaiter) return 0;
    __atomic_fetch_add(&cond->sequence, 1, __ATOMIC_SEQ_CST);
    Waking waking{cond, self_tid()};
    if (wake_address(cond, count, kAnyBits, settle, &waking) == 0) return 0;
    // Who signals with the mutex held lets the woken run when it unlocks.
    Fiber* self = current_fiber();
    if (self == nullptr) return 0;
    if (waking.holds_mutex)
        self->owes_turn = true;
    else
        let_woken_run(self);
    return 0;
}

}  // namespace

int cond_wait(Cond* cond, Mutex* mutex, TimeLimit limit) {
    if (!limit.has_valid_time()) return EINVAL;
    Fiber* fiber = current_fiber();
    if (is_shared(cond)) return wait_shared(fiber, cond, mutex, limit);
    if (fiber != nullptr)
        cancellation_point(fiber);
    else
        libc_sync().pthread_testcancel();
    if (!may_release(mutex)) return EPERM;

    Waiting waiting{cond, mutex};
    const Deadline deadline = limit.deadline();
    WaitRequest request;
    request.address = cond;
    request.validate = join_queue;
    request.argument = &waiting;
    request.after_enqueue = release_mutex;
    request.on_leave = leave_queue;
    request.reason = WaitReason::kCond;
    request.deadline_ns = deadline.monotonic_ns();
    WaitResult result;
    bool is_cancelled = false, was_taken_off = true;
    request.was_unlinked = &was_taken_off;
    do {
        OptionalSection section;  // handlers run when it is left
        is_cancelled = fiber != nullptr && cancellation_is_due(fiber);
        if (is_cancelled) break;
        result = wait_on_address(request);
        request.after_enqueue = nullptr;  // the mutex is released
        request.at_front = true;
    } while (waiting.is_interrupted && !waiting.missed_a_signal && !was_taken_off &&
             result.outcome == Wake::kSignal);
    if (is_cancelled && !waiting.is_interrupted) {  // with the mutex as it was
        cancellation_point(fiber);
        return 0;
    }
    if (waiting.is_interrupted) end_interrupted(cond, is_cancelled || waiting.missed_a_signal);
    if (is_cancelled) result.outcome = Wake::kCancel;
    const int locked = mutex_lock_after_wait(mutex);
    if (result.outcome == Wake::kCancel && fiber != nullptr) cancellation_point(fiber);
    if (locked != 0) return locked;  // EOWNERDEAD, ENOTRECOVERABLE
    // A clock that was set back while we slept: a spurious wake-up, the caller looks again.
    return result.outcome == Wake::kTimeout && deadline.has_passed() ? ETIMEDOUT : 0;
}

int cond_signal(Cond* cond) { return wake(cond, 1); }

int cond_broadcast(Cond* cond) { return wake(cond, INT32_MAX); }

int cond_destroy(Cond* cond) {
    if (is_shared(cond))
        return libc_sync().pthread_cond_destroy(reinterpret_cast<pthread_cond_t*>(cond));
    while (is_anybody_interrupted(cond->interrupted(), nullptr)) {
        OptionalSection section;
        wait_on_address(cond->interrupted(), is_anybody_interrupted, nullptr, nullptr, kNever,
                        WaitReason::kCond);
    }
    return 0;
}

}  // namespace pfiber::shim
