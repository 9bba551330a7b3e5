// FIFO of items linked by queue_next: the queue of all processors.
//
// A lock of the caller protects it; `size` alone is read without the lock, by workers that go idle.
// They look here first and at the rings of the processors afterwards, so an item that moves to a
// ring has to be counted here until the ring shows it (W3).  Go: globrunq.
//
// What a full ring spilled has waited longer than anything a look at the poller would bring, so the
// queue knows how many items are left of those that were here at the last spill.  Counts are of 64
// bits: they are compared long after a spill, when narrow ones would have wrapped.
#pragma once

#include <atomic>
#include <cstdint>

namespace pfiber {

template <class P, class Item>
struct GlobalQueue {
    Item* first = nullptr;
    Item* last = nullptr;
    typename P::template Atomic<int32_t> size{0};

    bool is_empty() const { return size.load(std::memory_order_acquire) == 0; }

    void push_back(Item* item) {
        item->queue_next = nullptr;
        if (last == nullptr)
            first = item;
        else
            last->queue_next = item;
        last = item;
        pushed_++;
        size.fetch_add(1, std::memory_order_release);
    }

    // In front of everything, in the order of the list that goes from `head` to `tail`.
    void push_front_list(Item* head, Item* tail, int32_t count) {
        tail->queue_next = first;
        if (first == nullptr) last = tail;
        first = head;
        taken_ -= count;
        size.fetch_add(count, std::memory_order_release);
    }

    void mark_spill() { spill_end_ = pushed_; }

    // A place in the queue: behind all that were in it at the last spill.
    int64_t end_of_spill() const { return spill_end_; }
    int32_t left_before(int64_t place) const {
        return place > taken_ ? static_cast<int32_t>(place - taken_) : 0;
    }
    int32_t spilled() const { return left_before(spill_end_); }

    // Takes the first `count`, which are there: the first of them is returned, put(item) is called
    // for each of the others and makes it seen elsewhere.
    template <class Put>
    Item* take(int32_t count, Put put) {
        Item* const taken = unlink_front();
        for (int32_t i = 1; i < count; i++) put(unlink_front());
        // Nobody else would be woken for them.
        size.fetch_sub(count, std::memory_order_release);
        return taken;
    }

  private:
    int64_t pushed_ = 0;  // ever, as taken_
    int64_t taken_ = 0;
    int64_t spill_end_ = 0;

    Item* unlink_front() {
        Item* item = first;
        taken_++;
        first = item->queue_next;
        if (first == nullptr) last = nullptr;
        item->queue_next = nullptr;
        return item;
    }
};

}  // namespace pfiber
