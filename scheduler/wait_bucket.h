// The queues behind wait_queue.h without fibers or futexes: buckets of waiters keyed by address.
//
// A node lives on its waiter's stack.  It is reached only under the lock of the bucket that its
// address selects, and only while it is linked.  Invariants:
//   Q3  a waiter validates under the lock; a waker that changed the word before it looks here is
//       seen by the validation, or it sees the waiter (`waiting` is raised before the validation
//       reads the word, and read by the waker after it changed the word).
//   Q4  whoever unlinks a node settles the object's counts for it, under the lock.
//   Q5  a waker unlinks, then claims, then never touches the node again: the waiter may have left.
// A claim may fail because a deadline or a signal was first; the waker then goes on to the next
// node, and the waiter finds itself unlinked and unclaimed, so nothing is lost.
// Go: semaRoot; WebKit: ParkingLot.
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

// `kCount` buckets and the protocol on them.  `Sink` is called as sink(owner, park, claim) for each
// successful claim, under the lock; it may only take notes.
template <class P, class LockType, size_t kCount>
class WaitTable {
    static_assert((kCount & (kCount - 1)) == 0, "the bucket is chosen by a shift");

  public:
    using Node = WaitNode<P>;
    using Bucket = WaitBucket<P, LockType>;
    using Claim = typename ParkWord<P>::Claim;

    Bucket& bucket_of(const void* address) {
        // Fibonacci hashing; the low two bits of a lock word's address are always zero.
        const uint64_t hash = (reinterpret_cast<uintptr_t>(address) >> 2) * 0x9e3779b97f4a7c15u;
        return buckets_[kCount == 1 ? 0 : hash >> (64 - __builtin_ctzll(kCount))];
    }

    // Links an armed node unless `validate()` says that there is nothing to wait for.
    // `on_refusal(bucket)` runs under the lock then.
    template <class Validate, class Refusal>
    bool enqueue(Node* node, const void* address, bool at_front, Validate validate,
                 Refusal on_refusal) {
        node->address.store(address, std::memory_order_relaxed);
        Bucket& bucket = bucket_of(address);
        bucket.announce();
        P::chaos_point();
        bucket.lock.acquire();
        const bool waits = validate();
        if (waits) {
            bucket.link(node, at_front);
        } else {
            bucket.withdraw();
            on_refusal();
        }
        bucket.lock.release();
        return waits;
    }

    // Waiter, after a wait that no waker of this table ended.  True when the node was still linked;
    // `settle()` ran then, under the lock.
    template <class Settle>
    bool leave(Node* node, Settle settle) {
        for (;;) {
            const void* address = node->address.load(std::memory_order_acquire);
            Bucket& bucket = bucket_of(address);
            P::chaos_point();
            bucket.lock.acquire();
            if (node->address.load(std::memory_order_relaxed) != address) {  // requeued meanwhile
                bucket.lock.release();
                continue;
            }
            const bool was_linked = node->linked;
            if (was_linked) {
                bucket.unlink(node);
                bucket.withdraw();
                settle();
            }
            bucket.lock.release();
            return was_linked;
        }
    }

    // Wakes up to `count` whose bits match, oldest first.  `settle()` runs for each node before it
    // is claimed, also when the claim then fails.
    template <class Settle, class Sink>
    int wake(const void* address, int count, uint32_t bits, Settle settle, Sink sink) {
        Bucket& bucket = bucket_of(address);
        if (bucket.nobody_waits()) return 0;
        P::chaos_point();
        bucket.lock.acquire();
        const int woken = wake_locked(bucket, address, count, bits, settle, sink);
        bucket.lock.release();
        return woken;
    }

    // With the bucket of `address` locked.
    template <class Settle, class Sink>
    int wake_locked(Bucket& bucket, const void* address, int count, uint32_t bits, Settle settle,
                    Sink sink) {
        int woken = 0;
        Node* node = bucket.first();
        while (node != nullptr && woken < count) {
            Node* next = node->next;  // linked, hence alive as long as the lock is held
            if (matches(node, address, bits)) {
                bucket.unlink(node);
                bucket.withdraw();
                settle();
                if (claim(node, sink)) woken++;
            }
            node = next;
        }
        return woken;
    }

    // Unlocking: gives the object to the oldest waiter if it has waited for `fair_ns`; otherwise
    // calls `release()` under the lock and wakes the oldest.  `hand(identity)` names the new owner
    // before it can run, under the lock; one that has given up meanwhile may be named first.
    template <class Hand, class Release, class Sink>
    void release_or_hand_over(const void* address, int64_t fair_ns, Hand hand, Release release,
                              Sink sink) {
        Bucket& bucket = bucket_of(address);
        if (bucket.nobody_waits()) {
            release();
            // A waiter that announced itself since then either validates after the release, or is
            // found now: the release is a full barrier.
            wake(
                address, 1, ~uint32_t{0}, [] {}, sink);
            return;
        }
        bucket.lock.acquire();
        int64_t now_ns = 0;
        for (Node* node = bucket.first(); node != nullptr;) {
            Node* next = node->next;
            if (matches(node, address, ~uint32_t{0})) {
                if (now_ns == 0) now_ns = P::now_ns();
                if (now_ns - node->since_ns < fair_ns) break;
                bucket.unlink(node);
                bucket.withdraw();
                node->handed = true;
                hand(node->identity);
                if (claim(node, sink)) {
                    bucket.lock.release();
                    return;
                }
            }
            node = next;
        }
        release();
        wake_locked(
            bucket, address, 1, ~uint32_t{0}, [] {}, sink);
        bucket.lock.release();
    }

    // -1: the validation failed.  Both buckets are locked in the order of their addresses.
    template <class Validate, class Sink>
    int requeue(const void* address, int wake_count, const void* target, int move_count,
                Validate validate, int* moved, Sink sink) {
        *moved = 0;
        Bucket& from = bucket_of(address);
        Bucket& to = bucket_of(target);
        Bucket& low = &from < &to ? from : to;
        Bucket& high = &from < &to ? to : from;
        low.lock.acquire();
        if (&low != &high) high.lock.acquire();
        int woken = -1;
        if (validate()) {
            woken = wake_locked(
                from, address, wake_count, ~uint32_t{0}, [] {}, sink);
            for (Node* node = from.first(); node != nullptr && *moved < move_count;) {
                Node* next = node->next;
                if (matches(node, address, ~uint32_t{0}) && address != target) {
                    from.unlink(node);
                    from.withdraw();
                    node->address.store(target, std::memory_order_release);
                    to.announce();
                    to.link(node, false);
                    ++*moved;
                }
                node = next;
            }
        }
        if (&low != &high) high.lock.release();
        low.lock.release();
        return woken;
    }

  private:
    static bool matches(const Node* node, const void* address, uint32_t bits) {
        return node->address.load(std::memory_order_relaxed) == address && (node->bits & bits) != 0;
    }

    template <class Sink>
    static bool claim(Node* node, Sink& sink) {
        ParkWord<P>* park = node->park;
        void* owner = node->owner;
        P::chaos_point();
        const Claim claimed = park->claim(node->sequence, Wake::kReady);
        if (claimed == Claim::kFailed) return false;
        sink(owner, park, claimed);
        return true;
    }

    Bucket buckets_[kCount];
};

}  // namespace pfiber
