// A processor's run queue: a ring of 256 and the next slot in front of it.
//
// One owner puts at the tail, owner and thieves take at the head by compare-and-swap; head and tail
// only grow.  The next slot holds the fiber that was readied or spawned last; the owner runs it
// first and within the same time slice, thieves take it last.
//
// Invariants: Q1 an item is in at most one queue and taken exactly once.  Q2 is_empty() never
// misses an item that moves from the next slot into the ring meanwhile.
// Go: runqput, runqget, runqputslow, runqgrab, runqempty.
#pragma once

#include <atomic>
#include <cstdint>

namespace pfiber {

template <class P, class Item>
class RunQueue {
  public:
    static constexpr uint32_t kCapacity = 256;

    // Owner.  Puts into the next slot (the former occupant goes to the tail) or at the tail.
    // When the ring is full, half of it and the item go to `overflow(items, count)`.
    template <class Overflow>
    void put(Item* item, bool next, Overflow overflow) {
        if (next) {
            Item* old = next_.exchange(item, std::memory_order_acq_rel);
            if (old == nullptr) return;
            item = old;
        }
        for (;;) {
            P::chaos_point();
            const uint32_t head = head_.load(std::memory_order_acquire);
            const uint32_t tail = tail_.load(std::memory_order_relaxed);
            if (tail - head < kCapacity) {
                ring_[tail % kCapacity].store(item, std::memory_order_relaxed);
                tail_.store(
                    tail + 1,
                    std::memory_order_release);  // pairs with the loads of head/tail in grab()
                return;
            }
            if (put_half(item, head, overflow)) return;
        }
    }

    // Owner.  *inherits tells that the item came from the next slot and shares the running slice.
    Item* get(bool* inherits) {
        Item* next = next_.load(std::memory_order_relaxed);
        // Only the owner sets the slot, so a failed exchange means that a thief emptied it.
        if (next != nullptr &&
            next_.compare_exchange_strong(next, nullptr, std::memory_order_acq_rel)) {
            *inherits = true;
            return next;
        }
        *inherits = false;
        for (;;) {
            uint32_t head = head_.load(std::memory_order_acquire);
            const uint32_t tail = tail_.load(std::memory_order_relaxed);
            if (tail == head) return nullptr;
            Item* item = ring_[head % kCapacity].load(std::memory_order_relaxed);
            P::chaos_point();
            if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel)) return item;
        }
    }

    // Owner.  What get() will give after `after` others if nothing changes: a hint, perhaps long
    // gone.
    Item* peek(uint32_t after) const {
        const uint32_t head = head_.load(std::memory_order_relaxed);
        if (tail_.load(std::memory_order_relaxed) - head <= after) return nullptr;
        return ring_[(head + after) % kCapacity].load(std::memory_order_relaxed);
    }

    // Thief.  Takes half of the victim's ring (rounded up), or with `take_next` and an empty ring
    // its next slot; returns how many were written to `batch` (room for kCapacity / 2).
    uint32_t grab(Item** batch, bool take_next) {
        for (;;) {
            uint32_t head = head_.load(std::memory_order_acquire);
            const uint32_t tail = tail_.load(std::memory_order_acquire);
            uint32_t count = tail - head;
            count -= count / 2;
            if (count == 0) {
                if (!take_next) return 0;
                Item* next = next_.load(std::memory_order_acquire);
                if (next == nullptr) return 0;
                if (!next_.compare_exchange_strong(next, nullptr, std::memory_order_acq_rel))
                    continue;
                batch[0] = next;
                return 1;
            }
            if (count > kCapacity / 2) continue;  // head and tail were not read at one moment
            for (uint32_t i = 0; i < count; i++)
                batch[i] = ring_[(head + i) % kCapacity].load(std::memory_order_relaxed);
            P::chaos_point();
            if (head_.compare_exchange_strong(head, head + count, std::memory_order_acq_rel))
                return count;
        }
    }

    bool has_next() const { return next_.load(std::memory_order_acquire) != nullptr; }

    bool is_empty() const {
        for (;;) {
            const uint32_t head = head_.load(std::memory_order_acquire);
            const uint32_t tail = tail_.load(std::memory_order_acquire);
            const bool no_next = next_.load(std::memory_order_acquire) == nullptr;
            P::chaos_point();
            if (tail == tail_.load(std::memory_order_acquire)) return head == tail && no_next;
        }
    }

    uint32_t size() const {  // without the next slot, as Go's schedtrace counts
        const uint32_t head = head_.load(std::memory_order_acquire);
        const uint32_t tail = tail_.load(std::memory_order_acquire);
        return tail - head <= kCapacity ? tail - head : 0;
    }

  private:
    template <class Overflow>
    bool put_half(Item* item, uint32_t head, Overflow overflow) {
        constexpr uint32_t kHalf = kCapacity / 2;
        Item* batch[kHalf + 1];
        for (uint32_t i = 0; i < kHalf; i++)
            batch[i] = ring_[(head + i) % kCapacity].load(std::memory_order_relaxed);
        P::chaos_point();
        if (!head_.compare_exchange_strong(head, head + kHalf, std::memory_order_acq_rel))
            return false;  // a thief made room
        batch[kHalf] = item;
        overflow(batch, kHalf + 1);
        return true;
    }

    alignas(64) typename P::template Atomic<uint32_t> head_{0};
    alignas(64) typename P::template Atomic<uint32_t> tail_{0};
    typename P::template Atomic<Item*> next_{nullptr};
    typename P::template Atomic<Item*> ring_[kCapacity]{};
};

}  // namespace pfiber
