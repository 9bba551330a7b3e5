// FIFO of items linked by queue_next: the queue of all processors.
//
// A lock of the caller protects it; `size` alone is read without the lock, by workers that go idle.
// They look here first and at the rings of the processors afterwards, so an item that moves to a
// ring has to be counted here until the ring shows it (W3).  Go: globrunq.
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
        size.fetch_add(1, std::memory_order_release);
    }

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
    Item* unlink_front() {
        Item* item = first;
        first = item->queue_next;
        if (first == nullptr) last = nullptr;
        item->queue_next = nullptr;
        return item;
    }
};

}  // namespace pfiber
