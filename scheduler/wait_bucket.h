// One queue of waiters, in order of arrival and priority, and the count by which wakers see that it
// is empty.  The protocol on it is wait_table.h, the invariants stand there.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "scheduler/park_word.h"

namespace pfiber {

template <class P>
struct WaitNode {
    // Changed by requeue with both buckets locked; read without a lock to find the bucket.
    typename P::template Atomic<const void*> address{nullptr};
    WaitNode* next = nullptr;
    WaitNode* prev = nullptr;
    bool linked = false;
    bool handed = false;  // the waker gave the object itself; valid after a successful claim
    uint32_t bits = 0;
    uint32_t identity = 0;  // for `hand`: what the object names its owner by
    int32_t priority = 0;   // higher ones are woken first (Linux: futex waiters)
    int64_t since_ns = 0;
    ParkWord<P>* park = nullptr;
    uint32_t sequence = 0;
    void* owner = nullptr;  // for the sink: who is to run again
};

template <class P, class LockType>
class alignas(64) WaitBucket {
  public:
    using Node = WaitNode<P>;

    LockType lock;

    // Before the lock is taken, by a waiter; by a waker, after its change of the word.
    void announce() { waiting_.fetch_add(1, std::memory_order_seq_cst); }
    void withdraw() { waiting_.fetch_sub(1, std::memory_order_relaxed); }
    bool nobody_waits() const {
        P::fence();  // the change of the word may have been a plain store
        return waiting_.load(std::memory_order_seq_cst) == 0;
    }

    // The rest: with the lock held.
    Node* first() const { return first_; }

    // In order of arrival, or before the others, among those of its priority.
    void link(Node* node, bool at_front) {
        node->linked = true;
        if (at_front) {
            node->next = first_;
            while (node->next != nullptr && node->next->priority > node->priority)
                node->next = node->next->next;
            node->prev = node->next != nullptr ? node->next->prev : last_;
        } else {
            node->prev = last_;
            while (node->prev != nullptr && node->prev->priority < node->priority)
                node->prev = node->prev->prev;
            node->next = node->prev != nullptr ? node->prev->next : first_;
        }
        (node->prev != nullptr ? node->prev->next : first_) = node;
        (node->next != nullptr ? node->next->prev : last_) = node;
    }

    void unlink(Node* node) {
        (node->prev != nullptr ? node->prev->next : first_) = node->next;
        (node->next != nullptr ? node->next->prev : last_) = node->prev;
        node->linked = false;
    }

  private:
    typename P::template Atomic<uint32_t> waiting_{0};  // linked nodes and waiters that validate
    Node* first_ = nullptr;
    Node* last_ = nullptr;
};

}  // namespace pfiber
