// The words by which the stopper of the world, the owners of processors and fibers that it halted
// find each other.  Who may stop when, and what happens meanwhile: world.cc.
//
// An owner gives its processor away when it sees the request, and wakes the stopper.  One that does
// not look (its fiber computes, or sits in a call) is served by the stopper itself: the call's
// processor by a swap, the fiber's by a claim that stays until the start (claim.h).  A fiber that
// leaves the runtime between the stopper's look at its depth and its own look at the request is
// seen by neither; so the stopper asks again after a while.
//
// A template over its platform and the records: tests/model/world_words_test.cc.
#pragma once

#include <atomic>
#include <cstdint>

#include "scheduler/claim.h"

namespace pfiber {

template <class P>
struct WorldWords {
    typename P::template Atomic<uint32_t> stop_requested{0};  // written under the scheduler's lock
    typename P::template Atomic<uint32_t> stop_word{0};   // the stopper sleeps here for a moment
    typename P::template Atomic<uint32_t> start_word{0};  // halted fibers that enter sleep here

    // ---- owners of processors, and fibers

    // The owner of a processor gives it to the stopper; false: nobody stops the world (any more).
    template <class R>
    bool give_to_stopper(R* processor) {
        // Once requested, the stop cannot be over before this very processor was given.
        if (stop_requested.load() == 0) return false;
        processor->worker = nullptr;
        processor->status.store(ProcessorStatus::kStopped);
        tell_stopper();
        return true;
    }

    void tell_stopper() {
        stop_word.fetch_add(1);
        P::futex_wake(stop_word, 1);
    }

    // Until nobody claims the fiber's processor any more: the monitor decides within a few
    // microseconds, a stopper that halted it keeps its claim until the start.
    template <class F>
    void wait_for_claim(F* fiber) {
        while ((fiber->attention.load(std::memory_order_acquire) & kAttendClaim) != 0) {
            const uint32_t word = start_word.load();
            const auto* processor = read_plain(fiber->worker->processor);
            // Halted, and not looked at and let go again.  The claim goes before the word changes.
            if (processor != nullptr && processor->status.load() == ProcessorStatus::kStopped &&
                (fiber->attention.load(std::memory_order_acquire) & kAttendClaim) != 0)
                P::futex_wait(start_word, word);
            else
                P::pause();
        }
    }

    // ---- the stopper, who has no processor

    // After the request: calls stop_all() until it is true, at most `ask_again_ns` later again.
    template <class StopAll>
    void gather(StopAll stop_all, int64_t ask_again_ns) {
        for (;;) {
            const uint32_t word = stop_word.load();
            if (stop_all()) return;
            P::futex_wait(stop_word, word, P::now_ns() + ask_again_ns);
        }
    }

    // True: this processor is the stopper's.
    template <class R, class Barrier>
    bool stop(R* processor, Barrier barrier_on_every_thread) {
        switch (processor->status.load()) {
            case ProcessorStatus::kStopped:
                return true;
            case ProcessorStatus::kInCall:
                if (!take_from_call(processor, ProcessorStatus::kStopped)) return false;
                processor->worker = nullptr;
                return true;
            case ProcessorStatus::kRunning: {
                processor->look_around.store(1, std::memory_order_relaxed);
                auto* worker = read_plain(processor->worker);
                auto* fiber = worker == nullptr ? nullptr : read_plain(worker->current);
                // On its way to a worker, or in a worker's loop: given up there.
                if (fiber == nullptr || fiber->is_scheduler) return false;
                fiber->attention.fetch_or(kAttendStop);
                ProcessorView view;
                if (!view_running(processor, &view)) return false;
                if (!claim<P>(processor, worker, fiber, view, ProcessorStatus::kStopped,
                              barrier_on_every_thread))
                    return false;
                processor->halted = fiber;
                return true;
            }
            case ProcessorStatus::kIdle:  // taken from the list already, on its way to a worker
                return false;
        }
        return false;
    }

    // At the start: a fiber that was halted has its processor again.
    template <class R>
    static void resume(R* processor) {
        auto* fiber = processor->halted;
        processor->halted = nullptr;
        processor->status.store(ProcessorStatus::kRunning);
        // From here on the fiber enters the runtime again, as if nothing had happened.
        drop_claim(fiber);
    }

    // After every claim was dropped.
    void wake_halted() {
        start_word.fetch_add(1);
        P::futex_wake(start_word, INT32_MAX);
    }
};

}  // namespace pfiber
