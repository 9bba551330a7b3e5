// The order in which a thief visits the processors: from a random one in steps of a random number
// that is coprime with their count, so each once, and two thieves seldom the same ones in a row.
// Go: randomOrder, with a table of the coprime numbers.
#pragma once

#include <cstdint>

namespace pfiber {

inline uint32_t next_random(uint32_t* state) {  // xorshift; *state is never 0
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

class VictimOrder {
  public:
    VictimOrder(uint32_t count, uint32_t* random) : count_(count) {
        step_ = next_random(random) % count;
        while (greatest_common_divisor(step_, count) != 1)
            step_ = count == 1 ? 1 : step_ % count + 1;
        at_ = next_random(random) % count;
    }

    // Called `count` times it gives each number below `count` once.
    uint32_t next() {
        const uint32_t at = at_;
        at_ = (at_ + step_) % count_;
        return at;
    }

  private:
    static uint32_t greatest_common_divisor(uint32_t a, uint32_t b) {
        while (b != 0) {
            const uint32_t rest = a % b;
            a = b;
            b = rest;
        }
        return a;
    }

    uint32_t count_, step_, at_;
};

}  // namespace pfiber
