// The scheduler's platform in the simulator: every atomic operation is a step of virtual time and
// may hand the simulated machine to another kernel thread.
//
// All simulated kernel threads share one real thread, so an operation needs no atomicity of its
// own; memory is sequentially consistent (weaker orders are the interleaving explorer's business).
#pragma once

#include <atomic>
#include <cstdint>

namespace pfiber::sim {

// The hot half of the machine's state (machine.h has the rest).
inline int64_t g_clock_ps = 0;         // virtual CLOCK_MONOTONIC
inline int64_t g_due_ps = INT64_MAX;   // the next thing that happens by itself
inline int64_t g_ps_per_ns = 0;        // a nanosecond of work, shared by all that step at once
inline int32_t g_quantum = INT32_MAX;  // steps until the next scheduling decision
inline uint64_t g_noise = 0;           // cheap randomness for spurious failures

void step_slow();
void spin_hint();

// One step of the running kernel thread; others may run before it returns.
inline void step(int32_t cost_ns) {
    g_clock_ps += cost_ns * g_ps_per_ns;
    if (__builtin_expect(--g_quantum <= 0 || g_clock_ps >= g_due_ps, 0)) step_slow();
}

inline bool spurious_failure() {
    g_noise = g_noise * 6364136223846793005u + 1442695040888963407u;
    return (g_noise >> 33) % 64 == 0;
}

constexpr int kLoadNs = 2, kStoreNs = 3, kSwapNs = 12;

template <class T>
class Atomic {
  public:
    constexpr Atomic() = default;
    constexpr Atomic(T value) : value_(value) {}
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    T load(std::memory_order = std::memory_order_seq_cst) const {
        step(kLoadNs);
        return value_;
    }
    void store(T value, std::memory_order = std::memory_order_seq_cst) {
        step(kStoreNs);
        value_ = value;
    }
    T exchange(T value, std::memory_order = std::memory_order_seq_cst) {
        step(kSwapNs);
        const T old = value_;
        value_ = value;
        return old;
    }
    bool compare_exchange_strong(T& expected, T desired,
                                 std::memory_order = std::memory_order_seq_cst,
                                 std::memory_order = std::memory_order_seq_cst) {
        step(kSwapNs);
        if (value_ == expected) {
            value_ = desired;
            return true;
        }
        expected = value_;
        return false;
    }
    bool compare_exchange_weak(T& expected, T desired,
                               std::memory_order = std::memory_order_seq_cst,
                               std::memory_order = std::memory_order_seq_cst) {
        step(kSwapNs);
        if (value_ == expected && !spurious_failure()) {
            value_ = desired;
            return true;
        }
        expected = value_;
        return false;
    }
    template <class N>
    T fetch_add(N n, std::memory_order = std::memory_order_seq_cst) {
        return exchange_now(static_cast<T>(value_after_step() + n));
    }
    template <class N>
    T fetch_sub(N n, std::memory_order = std::memory_order_seq_cst) {
        return exchange_now(static_cast<T>(value_after_step() - n));
    }
    template <class N>
    T fetch_or(N n, std::memory_order = std::memory_order_seq_cst) {
        return exchange_now(static_cast<T>(value_after_step() | n));
    }
    template <class N>
    T fetch_and(N n, std::memory_order = std::memory_order_seq_cst) {
        return exchange_now(static_cast<T>(value_after_step() & n));
    }
    operator T() const { return load(); }
    T operator=(T value) {
        store(value);
        return value;
    }

    // For the simulator's own looks: no step.
    T peek() const { return value_; }

  private:
    T value_after_step() const {
        step(kSwapNs);
        return value_;
    }
    T exchange_now(T value) {
        const T old = value_;
        value_ = value;
        return old;
    }

    T value_{};
};

struct SimPlatform {
    template <class T>
    using Atomic = sim::Atomic<T>;

    static int64_t now_ns();
    static long futex_wait(const Atomic<uint32_t>& word, uint32_t expected,
                           int64_t deadline_ns = INT64_MAX);
    static void futex_wake(const Atomic<uint32_t>& word, int count);
    static void pause() { spin_hint(); }
    static void prefetch(const void*) {}
    static void fence() {}
    static void chaos_point() { step(1); }
};

}  // namespace pfiber::sim
