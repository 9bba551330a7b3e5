// Deadlines of one processor's parked fibers: a 4-ary heap with lazy deletion.
//
// A timer stays in its heap when its wait ends early; the next timed wait only stores the new
// deadline.  The owner of the heap's lock repairs it when the stale key comes up: a loop of timed
// waits that never expire costs no heap operation.  An idle process wakes at most once for each
// stale key.  Times are CLOCK_MONOTONIC nanoseconds.
// Without memory to grow, timers that find no room stand in a list beside the heap, which is
// searched from end to end: slow, but no deadline is lost.
// The caller holds the processor's timer lock around every call except earliest_ns().
// Go: the per-P timer heap of runtime/time.go.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace pfiber {

struct TimerLink {
    int64_t key_ns = 0;       // position in the heap
    uint32_t index = 0;       // 1-based slot; 0: not in a heap; kListed: in the list beside it
    int16_t heap_owner = -1;  // processor whose heap holds it, or held it last
    void* next = nullptr;     // timer, while listed
    static constexpr uint32_t kListed = UINT32_MAX;
};

// The deadline of one waiter's present wait, read by whoever runs the heap (T2).  The waiter writes
// the sequence number of its wait, then the deadline; the reader takes them in the same order. What
// it pairs with a sequence is that wait's deadline, none, or a later wait's, which cannot end this
// one any more; in the other order an old deadline would end a new wait.
template <class P>
struct TimerWords {
    struct Due {
        uint32_t sequence;
        int64_t deadline_ns;  // 0: that wait ended long ago
    };

    typename P::template Atomic<int64_t> deadline_ns{0};
    typename P::template Atomic<uint32_t> sequence{0};

    void arm(uint32_t wait, int64_t deadline) {
        sequence.store(wait, std::memory_order_release);
        deadline_ns.store(deadline, std::memory_order_release);
    }
    void disarm() { deadline_ns.store(0, std::memory_order_release); }
    Due read() const {
        const uint32_t wait = sequence.load(std::memory_order_acquire);
        return {wait, deadline_ns.load(std::memory_order_acquire)};
    }
};

// `Timer` has a member `TimerLink link`.  Storage is grown by `P::grow` under the lock.
template <class P, class Timer>
class TimerHeap {
  public:
    int64_t earliest_ns() const { return earliest_.load(std::memory_order_acquire); }
    size_t size() const { return size_ + listed_count_; }

    void insert(Timer* timer, int64_t key_ns) {
        timer->link.key_ns = key_ns;
        if (size_ == capacity_ && !grow()) {
            timer->link.index = TimerLink::kListed;
            timer->link.next = listed_;
            listed_ = timer;
            listed_count_++;
        } else {
            size_++;
            place(timer, size_);
            sift_up(size_);
        }
        publish();
    }

    void update(Timer* timer, int64_t key_ns) {
        const bool earlier = key_ns < timer->link.key_ns;
        timer->link.key_ns = key_ns;
        if (timer->link.index == TimerLink::kListed) {
            // Its place does not tell its time.
        } else if (earlier)
            sift_up(timer->link.index);
        else
            sift_down(timer->link.index);
        publish();
    }

    void remove(Timer* timer) {
        const uint32_t hole = timer->link.index;
        if (hole == TimerLink::kListed) {
            unlist(timer);
            publish();
            return;
        }
        Timer* last = at(size_);
        size_--;
        timer->link.index = 0;
        if (last != timer) {
            place(last, hole);
            sift_up(hole);
            sift_down(last->link.index);
        }
        publish();
    }

    // False: no memory for `more` of them.
    bool reserve(size_t more) {
        while (size_ + more > capacity_)
            if (!grow()) return false;
        return true;
    }

    Timer* top() const {
        Timer* first = size_ == 0 ? nullptr : slots_[0];
        for (Timer* timer = listed_; timer != nullptr; timer = next_listed(timer))
            if (first == nullptr || timer->link.key_ns < first->link.key_ns) first = timer;
        return first;
    }

    void reset() {  // fork child: the memory stays, the entries are another process's
        size_ = listed_count_ = 0;
        listed_ = nullptr;
        publish();
    }

  private:
    Timer*& at(uint32_t index) { return slots_[index - 1]; }

    static Timer* next_listed(const Timer* timer) { return static_cast<Timer*>(timer->link.next); }

    void unlist(Timer* timer) {
        timer->link.index = 0;
        listed_count_--;
        if (listed_ == timer) {
            listed_ = next_listed(timer);
            return;
        }
        Timer* before = listed_;
        while (before->link.next != timer) before = next_listed(before);
        before->link.next = timer->link.next;
    }

    void place(Timer* timer, uint32_t index) {
        at(index) = timer;
        timer->link.index = index;
    }

    void sift_up(uint32_t index) {
        Timer* moving = at(index);
        while (index > 1) {
            const uint32_t parent = (index + 2) / 4;
            if (at(parent)->link.key_ns <= moving->link.key_ns) break;
            place(at(parent), index);
            index = parent;
        }
        place(moving, index);
    }

    void sift_down(uint32_t index) {
        Timer* moving = at(index);
        for (;;) {
            const uint32_t first = index * 4 - 2;
            if (first > size_) break;
            uint32_t least = first;
            for (uint32_t child = first + 1; child < first + 4 && child <= size_; child++)
                if (at(child)->link.key_ns < at(least)->link.key_ns) least = child;
            if (moving->link.key_ns <= at(least)->link.key_ns) break;
            place(at(least), index);
            index = least;
        }
        place(moving, index);
    }

    bool grow() {
        const size_t wanted = capacity_ == 0 ? 512 : capacity_ * 2;
        auto** slots = static_cast<Timer**>(
            P::resize(slots_, capacity_ * sizeof(Timer*), wanted * sizeof(Timer*)));
        if (slots == nullptr) return false;
        slots_ = slots;
        capacity_ = wanted;
        return true;
    }

    void publish() {
        const Timer* first = top();
        earliest_.store(first == nullptr ? INT64_MAX : first->link.key_ns,
                        std::memory_order_release);
    }

    Timer** slots_ = nullptr;
    size_t size_ = 0, capacity_ = 0, listed_count_ = 0;
    Timer* listed_ = nullptr;
    typename P::template Atomic<int64_t> earliest_{INT64_MAX};
};

}  // namespace pfiber
