// See cancel.h.
#include "shim/cancel.h"

#include <errno.h>
#include <pthread.h>

#include "scheduler/base/counters.h"
#include "shim/signal.h"
#include "shim/thread.h"

namespace pfiber::shim {

namespace {

constexpr uint32_t kPending = 1, kDisabled = 2, kAsynchronous = 4;

[[noreturn]] void act(Fiber* fiber) {
    Thread* thread = thread_of(fiber);
    thread->is_ending = true;
    // Unwinding may leave these loops; clean-up handlers take signals as everybody.
    thread->is_delivering = fiber->is_attending = false;
    COUNT(cancels);
    thread_exit(PTHREAD_CANCELED);
}

bool is_due(const Thread* thread) {
    const uint32_t word = thread->cancel.load(std::memory_order_acquire);
    return (word & (kPending | kDisabled)) == kPending && !thread->is_ending;
}

}  // namespace

void cancel_thread_started(Fiber* fiber) {
    // A request made before the first instruction waits for the first cancellation point, except
    // that an asynchronous one cannot have been asked for yet.
    (void)fiber;
}

int thread_cancel(Fiber* victim) {
    Thread* thread = thread_of(victim);
    const uint32_t before = thread->cancel.fetch_or(kPending);
    if ((before & kPending) != 0) return 0;
    victim->attention.fetch_or(kAttendCancel);
    Fiber* self = current_fiber();
    if (victim == self) {
        check_attention(self);
        return 0;
    }
    OptionalSection section;
    interrupt_fiber(victim, Wake::kCancel);
    return 0;
}

int set_cancel_state(Fiber* fiber, int state, int* old) {
    if (state != PTHREAD_CANCEL_ENABLE && state != PTHREAD_CANCEL_DISABLE) return EINVAL;
    Thread* thread = thread_of(fiber);
    const uint32_t before = state == PTHREAD_CANCEL_DISABLE ? thread->cancel.fetch_or(kDisabled)
                                                            : thread->cancel.fetch_and(~kDisabled);
    if (old != nullptr)
        *old = (before & kDisabled) != 0 ? PTHREAD_CANCEL_DISABLE : PTHREAD_CANCEL_ENABLE;
    attend_cancellation(fiber);
    return 0;
}

int set_cancel_type(Fiber* fiber, int type, int* old) {
    if (type != PTHREAD_CANCEL_DEFERRED && type != PTHREAD_CANCEL_ASYNCHRONOUS) return EINVAL;
    Thread* thread = thread_of(fiber);
    const uint32_t before = type == PTHREAD_CANCEL_ASYNCHRONOUS
                                ? thread->cancel.fetch_or(kAsynchronous)
                                : thread->cancel.fetch_and(~kAsynchronous);
    if (old != nullptr)
        *old =
            (before & kAsynchronous) != 0 ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED;
    attend_cancellation(fiber);
    return 0;
}

bool cancellation_is_due(const Fiber* fiber) { return is_due(thread_of(fiber)); }

void cancellation_point(Fiber* fiber) {
    if (__builtin_expect(is_due(thread_of(fiber)), 0)) act(fiber);
}

namespace {

// libc makes its own waits asynchronous for as long as they take (calls that are not redirected).
bool libc_waits(const Fiber* fiber) {
    constexpr int kLibcAsynchronous = 2;
    const size_t offset = host::identity_layout.cancelhandling;
    return (*reinterpret_cast<const volatile int*>(fiber->tp + offset) & kLibcAsynchronous) != 0;
}

}  // namespace

void attend_cancellation(Fiber* fiber) {
    const Thread* thread = thread_of(fiber);
    if (!is_due(thread) || fiber->in_call) return;
    if ((thread->cancel.load() & kAsynchronous) != 0 || libc_waits(fiber)) act(fiber);
}

InterruptMark interrupt_mark(const Fiber* fiber) { return thread_of(fiber)->interrupts; }

bool interrupted_since(const Fiber* fiber, InterruptMark mark, bool restartable) {
    const InterruptMark& now = thread_of(fiber)->interrupts;
    return restartable ? now.without_restart != mark.without_restart
                       : now.handlers != mark.handlers;
}

}  // namespace pfiber::shim
