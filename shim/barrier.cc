// Barriers: arrivals are counted under the bucket's lock, and the last one wakes the others in the
// same step, so that only threads of its round are woken and nobody touches the object afterwards:
// it may be destroyed by whoever returns first.  A waiter that a signal handler interrupts
// withdraws its arrival and arrives again.
#include "shim/barrier.h"

#include "scheduler/wait_queue.h"
#include "shim/libc_sync.h"

namespace pfiber::shim {

namespace {

bool arrive(const void*, void* argument) {
    auto* barrier = static_cast<Barrier*>(argument);
    if (barrier->arrived + 1 == barrier->count) {
        barrier->arrived = 0;
        return false;
    }
    barrier->arrived++;
    return true;
}

void withdraw(void* barrier) { static_cast<Barrier*>(barrier)->arrived--; }

}  // namespace

int barrier_wait(Barrier* barrier) {
    if (barrier->shared != 0) {
        BlockingRegion region;
        return libc_sync().pthread_barrier_wait(reinterpret_cast<pthread_barrier_t*>(barrier));
    }
    bool was_released = false;
    WaitRequest request;
    request.address = barrier;
    request.validate = arrive;
    request.argument = barrier;
    request.on_leave = withdraw;
    request.reason = WaitReason::kBarrier;
    request.release_others = true;
    request.was_unlinked = &was_released;
    while (!was_released) {
        OptionalSection section;
        if (!wait_on_address(request).validated) return PTHREAD_BARRIER_SERIAL_THREAD;
    }
    return 0;
}

}  // namespace pfiber::shim
