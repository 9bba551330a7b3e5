// Words that name their owner: robust mutexes and futexes with priority inheritance.
//
// Protocol: the owner's id, kWaiters when somebody may sleep, kOwnerDied left by a dead owner.
#pragma once

#include "scheduler/wait_queue.h"
#include "shim/abi.h"

namespace pfiber::shim {

// The owner, on any thread outside the runtime.  A waiter of more than a millisecond finds its own
// id in the word (its WaitRequest's identity), with kWaiters; else the word is freed and the oldest
// competes for it.  Afterwards the word is not touched.
inline void owner_word_release(Word* word) {
    uint32_t seen = word->load(std::memory_order_relaxed);
    while ((seen & Mutex::kWaiters) == 0)
        if (word->compare_exchange_weak(seen, 0, std::memory_order_release)) return;
    release_address(
        word,
        [](void* freed) { static_cast<Word*>(freed)->exchange(0, std::memory_order_seq_cst); },
        word,
        [](void* handed, uint32_t owner) {
            static_cast<Word*>(handed)->store(owner | Mutex::kWaiters, std::memory_order_release);
        });
}

}  // namespace pfiber::shim
