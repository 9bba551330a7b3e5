// Who has the processor of a fiber that computes, or is in a call.
//
// A fiber in program code marks nothing, so whoever wants its processor (the monitor, the stopper
// of the world) claims the fiber first.  One of the two sees the other (W5):
//
//     claimer: claim bit, barrier on every thread, look at the depth, swap the status
//     fiber:   raise the depth, look at the bit
//
// A call marks its processor, which belongs to whoever swaps the status then (W2): the fiber that
// returns, another that returns, the monitor, the stopper.  So what the claimer knows of a
// processor may be old in one more way: the fiber entered a call, and somebody else has the
// processor out of it.  The depth is down again and the status is "running"; only the count of
// calls tells.
//
// Templates over their records (fiber F, worker W, processor R), so that tests/model/claim_test.cc
// runs them with store buffers.
#pragma once

#include <atomic>
#include <cstdint>

namespace pfiber {

// Things a fiber must look at when it next leaves the runtime.  Set by anybody, cleared by itself.
enum Attention : uint32_t {
    kAttendPreempt = 1,   // its slice is over and somebody waits
    kAttendSignal = 2,    // a signal handler is to run
    kAttendCancel = 4,    // asynchronous cancellation
    kAttendClaim = 8,     // somebody is deciding whether to take its processor
    kAttendRetaken = 16,  // its processor was taken while it was outside the runtime
    kAttendState = 32,    // somebody changed what the kernel is to keep for it; ends no wait
    kAttendStop = 64,     // the world is being stopped
};

// kStopped: the stopper's (world.h), or one beyond the present number of processors.
enum class ProcessorStatus : uint32_t { kIdle, kRunning, kInCall, kStopped };

// A word that is written without an atomic operation, read by somebody else than its owner.
template <class T>
T read_plain(const T& word) {
    return static_cast<const volatile T&>(word);
}

// The fiber itself, before it does anything as the owner of its processor.  True: one of the bits
// is set; look_at_losses() comes first.
template <class F>
bool raise_depth(F* fiber, uint32_t bits) {
    fiber->depth++;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return (fiber->attention.load(std::memory_order_relaxed) & bits) != 0;
}

// The fiber itself, in the runtime.  wait(): until nobody claims it.  stop(): gives its processor
// away and runs on when it has one again, the depth up all the while.  regain(): gets a processor;
// as the depth is down for a moment, somebody may claim it anew.
template <class F, class Wait, class Stop, class Regain>
void look_at_losses(F* fiber, Wait wait, Stop stop, Regain regain) {
    for (;;) {
        wait();
        const uint32_t seen = fiber->attention.load(std::memory_order_acquire);
        if ((seen & kAttendStop) != 0) fiber->attention.fetch_and(~uint32_t{kAttendStop});
        if ((seen & kAttendRetaken) == 0) {
            if ((seen & kAttendStop) != 0) stop();
            return;
        }
        fiber->attention.fetch_and(~uint32_t{kAttendRetaken});
        regain();
    }
}

// What a claimer knows of a processor before it claims.
struct ProcessorView {
    uint32_t schedule_tick;
    uint32_t call_tick;
};

// False: not in program code.
template <class R>
bool view_running(const R* processor, ProcessorView* view) {
    view->schedule_tick = processor->schedule_tick.load(std::memory_order_relaxed);
    view->call_tick = processor->call_tick.load(std::memory_order_acquire);
    return processor->status.load() == ProcessorStatus::kRunning;
}

// Under the world's lock: there is one claimer at a time.  True: the processor's status is `taken`,
// and the fiber, which runs in program code, waits at its next entry until drop_claim().
template <class P, class R, class W, class F, class Barrier>
bool claim(R* processor, W* worker, F* fiber, const ProcessorView& view, ProcessorStatus taken,
           Barrier barrier_on_every_thread) {
    fiber->attention.fetch_or(kAttendClaim);
    barrier_on_every_thread();
    P::chaos_point();
    auto running = ProcessorStatus::kRunning;
    if (read_plain(fiber->depth) == 0 && read_plain(worker->current) == fiber &&
        read_plain(processor->worker) == worker &&
        processor->schedule_tick.load() == view.schedule_tick &&
        processor->call_tick.load() == view.call_tick &&
        processor->status.compare_exchange_strong(running, taken))
        return true;
    fiber->attention.fetch_and(~uint32_t{kAttendClaim});
    return false;
}

template <class F>
void drop_claim(F* fiber) {
    fiber->attention.fetch_and(~uint32_t{kAttendClaim});
}

// After a claim: the fiber computes on without a processor, and gets one at its next entry.
template <class W, class F>
void deprive(W* worker, F* fiber) {
    worker->processor = nullptr;
    fiber->attention.fetch_or(kAttendRetaken);
    drop_claim(fiber);
}

// The monitor takes the processor of a fiber that sleeps in program code.  Claims are the stopper's
// while the world's lock is held; so is every processor.
template <class P, class L, class R, class W, class F, class Barrier>
bool retake_from_program(L& world_lock, R* processor, W* worker, F* fiber,
                         const ProcessorView& view, Barrier barrier_on_every_thread) {
    if (!world_lock.try_acquire()) return false;
    const bool is_mine =
        claim<P>(processor, worker, fiber, view, ProcessorStatus::kIdle, barrier_on_every_thread);
    if (is_mine) deprive(worker, fiber);
    world_lock.release();
    return is_mine;
}

// ---- calls

// The owner, in the runtime, as the last thing before the call: from here on others may have it.
template <class R>
void count_call(R* processor) {
    processor->call_tick.store(processor->call_tick.load(std::memory_order_relaxed) + 1,
                               std::memory_order_relaxed);
}
template <class R>
void publish_call(R* processor) {
    processor->status.store(ProcessorStatus::kInCall, std::memory_order_seq_cst);
}

// Without one of its own: the processor of a call that lasts is the caller's from here on, as
// `taken`.
template <class R>
bool take_from_call(R* processor, ProcessorStatus taken) {
    auto in_call = ProcessorStatus::kInCall;
    if (!processor->status.compare_exchange_strong(in_call, taken)) return false;
    processor->call_tick.fetch_add(1);
    return true;
}

// After the call, in the runtime.  The former processor, out of the caller's call or, if it was
// taken or handed off, out of another's.
template <class P, class W>
bool return_from_call(W* worker) {
    auto* processor = read_plain(worker->processor);  // a hint: perhaps it is being taken
    if (processor == nullptr) processor = worker->old_processor;
    if (processor == nullptr) return false;
    P::chaos_point();
    // Idle and on no list for a moment: whoever sees it running sees whose it is.
    auto in_call = ProcessorStatus::kInCall;
    if (!processor->status.compare_exchange_strong(in_call, ProcessorStatus::kIdle)) {
        worker->processor = nullptr;
        return false;
    }
    processor->worker = worker;
    worker->processor = processor;
    P::chaos_point();
    processor->status.store(ProcessorStatus::kRunning, std::memory_order_release);
    return true;
}

}  // namespace pfiber
