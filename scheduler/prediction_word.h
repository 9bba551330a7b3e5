// One slot of the table of prediction.h: tag of a key (8 bits) | evidence (8) | time of the last
// long call (16, in units of 67 ms).
//
// Any thread reads and writes it without a lock.  Each update is one load and one store of the
// whole word, so what is read is always one key's; one that is lost to a race is one observation
// less.
#pragma once

#include <atomic>
#include <cstdint>

namespace pfiber {

enum class CallHistory : uint8_t {
    kShort,  // or unknown
    kMixed,  // some were long: worth finding out, not worth a hand-off
    kLong,   // hand off
};

enum class CallLength : uint8_t {
    kLong,
    kShort,
    kFoundShort,  // found out beforehand at little cost: it takes much less of the evidence away
};

template <class P>
class PredictionWord {
  public:
    CallHistory history(uint32_t key) const {
        // Of 255.  A hand-off pays when at least two of three calls are long: five long ones in a
        // row do it, two short ones take it back.
        constexpr uint32_t kConvinced = 180;
        constexpr uint32_t kSuspected = 24;  // worth a look at the clock, or into the page cache
        const uint32_t word = word_.load(std::memory_order_relaxed);
        if (__builtin_expect(tag_of(word) != tag_of(key), 1)) return CallHistory::kShort;
        const uint32_t evidence = evidence_of(word);
        if (evidence < kSuspected) return CallHistory::kShort;
        return evidence < kConvinced ? CallHistory::kMixed : CallHistory::kLong;
    }

    // The last long call was more than a second ago.
    bool is_forgotten(int64_t now_ns) const {
        constexpr uint32_t kForgetUnits = 15;  // of 67 ms: a second
        const uint32_t word = word_.load(std::memory_order_relaxed);
        return ((units(now_ns) - word) & 0xffff) > kForgetUnits;
    }

    void learn(uint32_t key, CallLength length, int64_t now_ns) {
        const uint32_t word = word_.load(std::memory_order_relaxed);
        const bool is_mine = tag_of(word) == tag_of(key);
        uint32_t evidence = is_mine ? evidence_of(word) : 0;
        uint32_t when = word & 0xffff;
        switch (length) {
            case CallLength::kLong:
                if (evidence < 255) evidence += (255 - evidence) / 4 + 1;
                when = units(now_ns);
                break;
            case CallLength::kShort:
                // A short call says nothing about a slot that is another key's.
                if (evidence == 0) return;
                evidence -= evidence / 4 + 1;
                break;
            case CallLength::kFoundShort:
                if (evidence == 0) return;
                evidence -= evidence / 32 + 1;
                break;
        }
        word_.store(tag_of(key) << 24 | evidence << 16 | when, std::memory_order_relaxed);
    }

    void forget() { word_.store(0, std::memory_order_relaxed); }

  private:
    static uint32_t tag_of(uint32_t key_or_word) { return key_or_word >> 24; }
    static uint32_t evidence_of(uint32_t word) { return word >> 16 & 0xff; }
    static uint32_t units(int64_t now_ns) { return static_cast<uint32_t>(now_ns >> 26) & 0xffff; }

    typename P::template Atomic<uint32_t> word_{0};
};

}  // namespace pfiber
