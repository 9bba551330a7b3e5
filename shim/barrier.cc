// Barriers: arrivals are counted under the bucket's lock, and the last one wakes the others in the
// same step, so that only threads of its round are woken and nobody touches the object afterwards:
// it may be destroyed by whoever returns first.
//
// A waiter whose signal handler runs has left the queue but stays counted; the round's number tells
// it afterwards whether it has to wait on.  It is the only one that touches the object after its
// release, so destroying waits until nobody is away.
#include "shim/barrier.h"

#include "scheduler/wait_queue.h"
#include "shim/libc_sync.h"

namespace pfiber::shim {

namespace {

struct Arrival {
    Barrier* barrier;
    uint32_t round = 0;
    bool is_away = false;  // counted in barrier->away
};

// The following run with the bucket of the barrier locked.

bool arrive(const void*, void* argument) {
    auto* arrival = static_cast<Arrival*>(argument);
    Barrier* barrier = arrival->barrier;
    arrival->round = barrier->round;
    if (barrier->arrived + 1 == barrier->count) {
        barrier->arrived = 0;
        barrier->round++;
        return false;
    }
    barrier->arrived++;
    return true;
}

void go_away(void* argument) {
    auto* arrival = static_cast<Arrival*>(argument);
    arrival->barrier->away.fetch_add(1, std::memory_order_relaxed);
    arrival->is_away = true;
}

bool come_back(const void*, void* argument) {
    auto* arrival = static_cast<Arrival*>(argument);
    const bool waits_on = arrival->barrier->round == arrival->round;
    arrival->barrier->away.fetch_sub(1, std::memory_order_seq_cst);
    arrival->is_away = false;
    return waits_on;
}

bool stay_away(const void*, void* argument) {
    come_back(nullptr, argument);
    return false;
}

bool somebody_is_away(const void* away, void*) {
    return static_cast<const Word*>(away)->load(std::memory_order_seq_cst) != 0;
}

__attribute__((noinline)) void stop_being_away(Arrival* arrival) {
    const void* away = &arrival->barrier->away;
    {
        OptionalSection section;
        WaitRequest request;
        request.address = arrival->barrier;
        request.validate = stay_away;
        request.argument = arrival;
        wait_on_address(request);
    }
    wake_address(away, INT32_MAX);
}

// A handler that ends the thread leaves its arrival counted, as libc does.
class Attendance {
  public:
    explicit Attendance(Barrier* barrier) { arrival_.barrier = barrier; }
    ~Attendance() {
        if (arrival_.is_away) stop_being_away(&arrival_);
    }
    Attendance(const Attendance&) = delete;
    Attendance& operator=(const Attendance&) = delete;

    Arrival* arrival() { return &arrival_; }

  private:
    Arrival arrival_;
};

pthread_barrier_t* object(Barrier* barrier) {
    return reinterpret_cast<pthread_barrier_t*>(barrier);
}

}  // namespace

int barrier_wait(Barrier* barrier) {
    if (barrier->shared != 0) {
        LibcWait wait;
        return libc_sync().pthread_barrier_wait(object(barrier));
    }
    const void* away = &barrier->away;
    Attendance attendance(barrier);
    bool was_released = false;
    WaitRequest request;
    request.address = barrier;
    request.validate = arrive;
    request.argument = attendance.arrival();
    request.on_leave = go_away;
    request.reason = WaitReason::kBarrier;
    request.release_others = true;
    request.was_unlinked = &was_released;
    WaitResult result;
    {
        OptionalSection section;
        result = wait_on_address(request);
    }
    if (!result.validated) return PTHREAD_BARRIER_SERIAL_THREAD;
    request.validate = come_back;
    request.release_others = false;
    while (!was_released) {
        {
            OptionalSection section;
            result = wait_on_address(request);
        }
        if (!result.validated) {
            wake_address(away, INT32_MAX);
            break;
        }
    }
    return 0;
}

int barrier_destroy(Barrier* barrier) {
    if (barrier->shared != 0) {
        LibcWait wait;
        return libc_sync().pthread_barrier_destroy(object(barrier));
    }
    WaitRequest request;
    request.address = &barrier->away;
    request.validate = somebody_is_away;
    request.reason = WaitReason::kBarrier;
    do {
        OptionalSection section;
        if (!wait_on_address(request).validated) return 0;
    } while (true);
}

}  // namespace pfiber::shim
