// What the scheduler's protocols need from the machine, in one type.
//
// The protocol headers (run_queue.h, park_word.h, wait_table.h, wake_words.h, poller_gate.h,
// timer_heap.h, lock.h) are templates over a type with these members; the program uses
// LinuxPlatform, the model tests and the simulator bring their own.  Between any two steps of a
// protocol stands a chaos_point(): nothing in production unless PFIBER_CHAOS_SEED is set, a
// scheduling decision in the simulator.
//
// Units: nanoseconds of CLOCK_MONOTONIC everywhere.  Callable from everywhere, also in a signal
// handler, except where said.
#pragma once

#include <atomic>
#include <cstdint>

#include "scheduler/host/clock.h"
#include "scheduler/host/syscall.h"

namespace pfiber {

constexpr int64_t kNever = INT64_MAX;  // a deadline that does not come

struct LinuxPlatform {
    template <class T>
    using Atomic = std::atomic<T>;

    static inline uint64_t chaos_seed = 0;  // 0: chaos points do nothing

    static int64_t now_ns() { return host::monotonic_ns(); }

    // Sleeps while `word` holds `expected`, until woken or `deadline_ns`.  Stray returns are legal.
    // The kernel's result; -EINTR tells that a signal handler ran.
    static long futex_wait(const Atomic<uint32_t>& word, uint32_t expected,
                           int64_t deadline_ns = kNever) {
        const auto* address = reinterpret_cast<const volatile uint32_t*>(&word);
        if (deadline_ns == kNever) return host::raw_futex_wait(address, expected, nullptr);
        int64_t left = deadline_ns - now_ns();
        if (left <= 0) return 0;
        timespec relative{left / 1000000000, left % 1000000000};
        return host::raw_futex_wait(address, expected, &relative);
    }

    static void futex_wake(const Atomic<uint32_t>& word, int count) {
        host::raw_futex_wake(reinterpret_cast<const volatile uint32_t*>(&word), count);
    }

    static void pause() { __builtin_ia32_pause(); }
    static void prefetch(const void* address) { __builtin_prefetch(address); }

    // Earlier stores of the caller are seen by all before its later loads read.
    static void fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }

    static void chaos_point() {
        if (__builtin_expect(chaos_seed != 0, 0)) chaos_delay();
    }
    static void chaos_delay();  // random: nothing, a few pauses, sched_yield, a short sleep
};

#ifdef PFIBER_SIMULATOR_PLATFORM
using Platform = PFIBER_SIMULATOR_PLATFORM;
#else
using Platform = LinuxPlatform;
#endif

}  // namespace pfiber
