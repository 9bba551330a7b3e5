// Semaphores: value and number of registered waiters in one word, as glibc has them.
//
// A waiter registers before it sleeps and takes its registration back in the step that takes the
// value, so that a post that sees none registered wakes nobody.  Post touches the object in one
// read-modify-write and uses only its address afterwards.
#include "shim/semaphore.h"

#include <errno.h>
#include <linux/futex.h>
#include <semaphore.h>

#include "scheduler/host/signal.h"
#include "scheduler/wait_queue.h"
#include "shim/interrupt.h"
#include "shim/libc_sync.h"
#include "shim/signal.h"

namespace pfiber::shim {

namespace {

constexpr uint64_t kMaximum = 0x7fffffff;  // SEM_VALUE_MAX

bool has_no_value(const void* address, void*) {
    const auto* semaphore = static_cast<const Semaphore*>(address);
    return (semaphore->data.load(std::memory_order_relaxed) & Semaphore::kValue) == 0;
}

// Takes one, with `registration` given back in the same step.
bool take(Semaphore* semaphore, uint64_t registration) {
    uint64_t seen = semaphore->data.load(std::memory_order_relaxed);
    while ((seen & Semaphore::kValue) != 0)
        if (semaphore->data.compare_exchange_weak(seen, seen - 1 - registration,
                                                  std::memory_order_acquire))
            return true;
    return false;
}

void enlist(Semaphore* semaphore) {
    semaphore->data.fetch_add(Semaphore::kOneWaiter, std::memory_order_seq_cst);
}
void delist(Semaphore* semaphore) {
    semaphore->data.fetch_sub(Semaphore::kOneWaiter, std::memory_order_relaxed);
}

// Other processes post: the kernel's wait.  The outcome as of a park.
Wake sleep_shared(Fiber* fiber, Semaphore* semaphore, const Deadline& deadline) {
    timespec relative{};
    const timespec* timeout = nullptr;
    if (!deadline.is_never()) {
        const int64_t left = deadline.monotonic_ns() - host::monotonic_ns();
        if (left <= 0) return Wake::kTimeout;
        relative = {left / 1000000000, left % 1000000000};
        timeout = &relative;
    }
    const long arguments[6] = {reinterpret_cast<long>(semaphore), FUTEX_WAIT, 0,
                               reinterpret_cast<long>(timeout)};
    long result;
    if (fiber == nullptr) {
        result = host::raw_syscall6(SYS_futex, arguments[0], arguments[1], arguments[2],
                                    arguments[3], 0, 0);
    } else {
        BlockingRegion region;
        if (cancellation_is_due(fiber)) return Wake::kCancel;
        result = host::pfiber_blocking_syscall(&fiber->attention, kAttendSignal | kAttendCancel,
                                               SYS_futex, arguments);
    }
    if (fiber != nullptr && result == 0) handle_signals_before_end(fiber);
    return result == -EINTR ? Wake::kSignal : Wake::kReady;
}

Wake sleep_private(Fiber* fiber, Semaphore* semaphore, const Deadline& deadline, bool at_front) {
    WaitRequest request;
    request.address = semaphore->address();
    request.validate = has_no_value;
    request.deadline_ns = deadline.monotonic_ns();
    request.reason = WaitReason::kSemaphore;
    request.at_front = at_front;
    OptionalSection section;
    if (fiber != nullptr && cancellation_is_due(fiber)) return Wake::kCancel;
    return wait_on_address(request).outcome;
}

void cancellation_point_here(Fiber* fiber) {
    if (fiber != nullptr)
        cancellation_point(fiber);
    else
        libc_sync().pthread_testcancel();
}

}  // namespace

int semaphore_wait(Semaphore* semaphore, TimeLimit limit, bool acts_at_once) {
    if (!limit.has_valid_time()) return EINVAL;
    Fiber* fiber = current_fiber();
    if (acts_at_once) cancellation_point_here(fiber);
    if (take(semaphore, 0)) return 0;
    const Deadline deadline = limit.deadline();
    InterruptMark mark;
    if (fiber != nullptr) mark = interrupt_mark(fiber);
    enlist(semaphore);
    bool waited = false;
    for (;;) {
        if (take(semaphore, Semaphore::kOneWaiter)) return 0;
        const Wake outcome = semaphore->shared != 0
                                 ? sleep_shared(fiber, semaphore, deadline)
                                 : sleep_private(fiber, semaphore, deadline, waited);
        waited = outcome == Wake::kReady;
        if (waited) continue;
        if (take(semaphore, Semaphore::kOneWaiter)) return 0;
        if (outcome == Wake::kTimeout && !deadline.has_passed()) continue;
        // Not registered while a cancellation may unwind us.
        delist(semaphore);
        if (outcome == Wake::kTimeout) return ETIMEDOUT;
        cancellation_point_here(fiber);
        // A thread without fiber sleeps in a kernel call that SA_RESTART handlers do not end.
        if (fiber == nullptr || interrupted_since(fiber, mark, deadline.is_never())) return EINTR;
        enlist(semaphore);
    }
}

int semaphore_trywait(Semaphore* semaphore) { return take(semaphore, 0) ? 0 : EAGAIN; }

int semaphore_post(Semaphore* semaphore) {
    const bool is_shared = semaphore->shared != 0;
    uint64_t seen = semaphore->data.load(std::memory_order_relaxed);
    do {
        if ((seen & Semaphore::kValue) == kMaximum) return EOVERFLOW;
    } while (!semaphore->data.compare_exchange_weak(seen, seen + 1, std::memory_order_seq_cst));
    if (seen < Semaphore::kOneWaiter) return 0;
    if (is_shared)
        host::raw_futex_wake(reinterpret_cast<uint32_t*>(semaphore), 1, false);
    else
        wake_address(semaphore->address(), 1);
    let_woken_run(current_fiber());
    return 0;
}

}  // namespace pfiber::shim
