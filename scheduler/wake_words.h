// The words by which submitters of work, workers that go idle and the monitor find each other.
//
// Each pair below publishes on one side and then looks at the other side's word, and so does its
// partner: one of the two sees the other.  The queues, the list of idle processors and its lock are
// the caller's.  Invariants W3, W4 of README.md; tests/model/wake_words_test.cc runs them under
// every interleaving.  Go: wakep, resetspinning and the end of findRunnable, without its lock.
#pragma once

#include <atomic>
#include <cstdint>

namespace pfiber {

template <class P>
struct WakeWords {
    template <class T>
    using Word = typename P::template Atomic<T>;

    Word<int32_t> idle_processor_count{0};  // changed under the scheduler lock
    Word<int32_t> spinning{0};              // workers that look for work, or were woken to
    Word<uint32_t> need_spinning{0};        // a submitter found no idle processor
    Word<uint32_t> monitor_asleep{0};
    Word<uint32_t> monitor_word{0};

    // Submitter, after its work can be seen on a queue.  True: the caller counts as spinning now
    // and has to start a worker on an idle processor, or, when there is none any more, to lower
    // `spinning` again.  False: a spinner, or whoever goes idle next, finds the work.
    bool must_wake() {
        // What was submitted is seen before the counts are read; a ring's tail is a plain store.
        P::fence();
        if (idle_processor_count.load(std::memory_order_seq_cst) == 0) {
            if (need_spinning.load(std::memory_order_seq_cst) == 0)
                need_spinning.store(1, std::memory_order_seq_cst);
            if (idle_processor_count.load(std::memory_order_seq_cst) == 0) return false;
        }
        int32_t none = 0;
        return spinning.load(std::memory_order_seq_cst) == 0 &&
               spinning.compare_exchange_strong(none, 1);
    }

    // Worker that found nothing, after its processor was counted as idle.  True: it has to look at
    // every queue again.  One that did not spin has to only when a submitter found no idle
    // processor a moment ago (W4).
    bool must_look_again(bool was_spinning) {
        if (was_spinning) spinning.fetch_sub(1);
        return was_spinning || need_spinning.load() != 0;
    }

    // Submitter for whom must_wake() is true: an idle processor, or, with no spinner left behind,
    // null.  take(): the first of the list.
    template <class L, class Take>
    auto take_for_wake(L& lock, Take take) {
        lock.acquire();
        auto* processor = take();
        need_spinning.store(processor == nullptr ? 1 : 0);
        // Under the lock: who sees a processor that is put there later sees no spinner any more.
        if (processor == nullptr) spinning.fetch_sub(1);
        lock.release();
        return processor;
    }

    // Who gives a processor away, without work for it.  True: a worker is to be started on it, and
    // counts as spinning; somebody has to look out for what is submitted, and nobody does.
    bool must_spin_on() {
        int32_t none = 0;
        if (spinning.load() != 0 || idle_processor_count.load() != 0 ||
            !spinning.compare_exchange_strong(none, 1))
            return false;
        need_spinning.store(0);
        return true;
    }

    // The same, after the processor was counted as idle.  True: the spinner that was counted on may
    // have found something and, before this processor was idle, nobody to wake (W4).
    bool must_wake_for_note() const { return need_spinning.load() != 0; }

    // Spinner that found work.  True: it was the last one and wakes the next.
    bool was_last_spinner() { return spinning.fetch_sub(1) == 1; }

    // The monitor: sleeps until ring_monitor() or `deadline_ns`, unless there is something to
    // watch.
    template <class NothingToWatch>
    void monitor_sleep(NothingToWatch nothing_to_watch, int64_t deadline_ns) {
        monitor_asleep.store(1);
        const uint32_t word = monitor_word.load();
        if (nothing_to_watch()) P::futex_wait(monitor_word, word, deadline_ns);
        monitor_asleep.store(0);
    }

    void ring_monitor() {
        monitor_word.fetch_add(1);
        P::futex_wake(monitor_word, 1);
    }

    // After something to watch was published by a seq_cst operation: either we see that the monitor
    // sleeps, or it sees what was published.
    void ring_sleeping_monitor() {
        if (monitor_asleep.load(std::memory_order_seq_cst) != 0) ring_monitor();
    }
};

}  // namespace pfiber
