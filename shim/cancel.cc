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

// libc's own word (pthreadP.h), which its functions change inside: some disable cancellation for as
// long as they run (sem_open), others make their own waits asynchronous (calls that are not
// redirected).
constexpr uint32_t kLibcDisabled = 1, kLibcAsynchronous = 2;

uint32_t* libc_word(const Fiber* fiber) {
    return reinterpret_cast<uint32_t*>(fiber->tp + host::identity_layout.cancelhandling);
}

bool libc_has(const Fiber* fiber, uint32_t bit) {
    return (__atomic_load_n(libc_word(fiber), __ATOMIC_RELAXED) & bit) != 0;
}

bool is_due(const Fiber* fiber) {
    const Thread* thread = thread_of(fiber);
    const uint32_t word = thread->cancel.load(std::memory_order_acquire);
    return (word & (kPending | kDisabled)) == kPending && !thread->is_ending &&
           !libc_has(fiber, kLibcDisabled);
}

}  // namespace

void cancel_adopt(Fiber* main) {
    const uint32_t both = kLibcDisabled | kLibcAsynchronous;
    const uint32_t word = __atomic_fetch_and(libc_word(main), ~both, __ATOMIC_SEQ_CST);
    thread_of(main)->cancel.fetch_or(((word & kLibcDisabled) != 0 ? kDisabled : 0) |
                                     ((word & kLibcAsynchronous) != 0 ? kAsynchronous : 0));
}

void cancel_give_back(Fiber* survivor) {
    const uint32_t word = thread_of(survivor)->cancel.load();
    __atomic_fetch_or(libc_word(survivor),
                      ((word & kDisabled) != 0 ? kLibcDisabled : 0) |
                          ((word & kAsynchronous) != 0 ? kLibcAsynchronous : 0),
                      __ATOMIC_SEQ_CST);
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

bool cancellation_is_due(const Fiber* fiber) { return is_due(fiber); }

void cancellation_point(Fiber* fiber) {
    if (__builtin_expect(is_due(fiber), 0)) act(fiber);
}

bool cancels_anywhere(const Fiber* fiber) {
    return (thread_of(fiber)->cancel.load() & kAsynchronous) != 0 ||
           libc_has(fiber, kLibcAsynchronous);
}

void attend_cancellation(Fiber* fiber) {
    if (is_due(fiber) && !fiber->in_call && cancels_anywhere(fiber)) act(fiber);
}

InterruptMark interrupt_mark(const Fiber* fiber) { return thread_of(fiber)->interrupts; }

bool interrupted_since(const Fiber* fiber, InterruptMark mark, bool restartable) {
    const InterruptMark& now = thread_of(fiber)->interrupts;
    return restartable ? now.without_restart != mark.without_restart
                       : now.handlers != mark.handlers;
}

}  // namespace pfiber::shim
