// The platform of the shipped protocol headers under the explorer: atomics with store buffers,
// locks, the futex.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstring>

#include "tests/model/explorer.h"

namespace pfiber::model {

// A store of less than seq_cst order is a plain move and goes into the buffer; seq_cst stores and
// all read-modify-write operations are locked instructions on x86, whatever order they ask for.
template <class T>
class ModelAtomic {
    static_assert(sizeof(T) <= sizeof(uint64_t));

  public:
    ModelAtomic() = default;
    ModelAtomic(T value) : value_(value) {}
    ModelAtomic(const ModelAtomic&) = delete;
    ModelAtomic& operator=(const ModelAtomic&) = delete;

    using Order = std::memory_order;
    static constexpr Order kSeq = std::memory_order_seq_cst;

    T load(Order = kSeq) const {
        Explorer::point();
        if (const BufferedStore* own = Explorer::forwarded(this)) return from_bits(own->bits);
        Explorer::before_load();
        return value_;
    }
    void store(T value, Order order = kSeq) {
        Explorer::point();
        if (order != kSeq && Explorer::buffer_store({this, write, to_bits(value)})) return;
        Explorer::drain();
        value_ = value;
    }
    T exchange(T value, Order = kSeq) {
        return modify([value](T) { return value; });
    }
    bool compare_exchange_strong(T& expected, T value, Order = kSeq, Order = kSeq) {
        locked();
        if (value_ == expected) {
            value_ = value;
            return true;
        }
        expected = value_;
        return false;
    }
    bool compare_exchange_weak(T& expected, T value, Order = kSeq, Order = kSeq) {
        return compare_exchange_strong(expected, value);
    }
    T fetch_add(T amount, Order = kSeq) {
        return modify([amount](T old) { return static_cast<T>(old + amount); });
    }
    T fetch_sub(T amount, Order = kSeq) {
        return modify([amount](T old) { return static_cast<T>(old - amount); });
    }
    T fetch_or(T bits, Order = kSeq) {
        return modify([bits](T old) { return static_cast<T>(old | bits); });
    }
    T fetch_and(T bits, Order = kSeq) {
        return modify([bits](T old) { return static_cast<T>(old & bits); });
    }
    T peek() const { return value_; }  // no step: for conditions and checks

  private:
    static void locked() {
        Explorer::point();
        Explorer::drain();
    }
    template <class Change>
    T modify(Change change) {
        locked();
        const T old = value_;
        value_ = change(old);
        return old;
    }
    static uint64_t to_bits(T value) {
        uint64_t bits = 0;
        memcpy(&bits, &value, sizeof value);
        return bits;
    }
    static T from_bits(uint64_t bits) {
        T value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    static void write(void* cell, uint64_t bits) {
        static_cast<ModelAtomic*>(cell)->value_ = from_bits(bits);
    }

    T value_{};
};

// Stands for lock.h where its inside is not the question: one point, before it is taken.
class ModelLock {
  public:
    void acquire() {
        Explorer::wait_until([this] { return !is_held_; });
        Explorer::drain();
        is_held_ = true;
    }
    bool try_acquire() {
        Explorer::point();
        Explorer::drain();
        if (is_held_) return false;
        return is_held_ = true;
    }
    void release() {
        Explorer::drain();
        is_held_ = false;
    }

  private:
    bool is_held_ = false;
};

struct ModelPlatform {
    template <class T>
    using Atomic = ModelAtomic<T>;
    static inline int64_t time_ns = 0;
    static int64_t now_ns() { return time_ns; }
    static void chaos_point() { Explorer::point(); }
    static void pause() { Explorer::give_way(); }
    static void prefetch(const void*) {}
    static void fence() {
        Explorer::point();
        Explorer::drain();
    }
    // The kernel compares under a lock of its own.
    static long futex_wait(const Atomic<uint32_t>& word, uint32_t expected,
                           int64_t deadline_ns = INT64_MAX) {
        fence();
        if (word.peek() != expected) return -EAGAIN;
        Explorer::sleep_on(&word, deadline_ns != INT64_MAX);
        return 0;
    }
    static void futex_wake(const Atomic<uint32_t>& word, int count) {
        fence();
        Explorer::wake_sleepers(&word, count);
    }
};

}  // namespace pfiber::model
