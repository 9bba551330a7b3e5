// pthread_barrier_t, pthread_spinlock_t, pthread_once_t.
#pragma once

#include "shim/abi.h"

namespace pfiber::shim {

// All of them: any thread, outside the runtime; no cancellation points.

// 0, or PTHREAD_BARRIER_SERIAL_THREAD for one thread of each round.
int barrier_wait(Barrier* barrier);
int barrier_destroy(Barrier* barrier);

void spin_lock(Spin* spin);
inline bool spin_trylock(Spin* spin) {
    return spin->word.exchange(Spin::kHeld, std::memory_order_acquire) == Spin::kFree;
}
inline void spin_unlock(Spin* spin) { spin->word.store(Spin::kFree, std::memory_order_release); }

// Runs `function` once; when it is left by an exception or a cancellation, the next caller runs it.
void once_slow(Once* once, void (*function)());
inline void once_run(Once* once, void (*function)()) {
    if (__builtin_expect(once->state.load(std::memory_order_acquire) != Once::kDone, 0))
        once_slow(once, function);
}

}  // namespace pfiber::shim
