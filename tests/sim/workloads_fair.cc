// Simulated programs that ask how long a fiber waits for its turn: bounds in virtual time.
#include <memory>

#include "tests/sim/workload.h"
#include "tests/sim/workloads.h"

namespace pfiber::sim {

namespace {

constexpr int64_t kUs = 1000, kMs = 1000000;

bool is_over;

// Made now; its first instruction is to come within `bound`.
void expect_turn(int64_t bound, const char* rule, Group* group) {
    const int64_t made = now();
    go([made, bound, rule, group] {
        const int64_t waited = now() - made;
        if (waited > bound)
            fail("%s: a fiber waited %lld us for its turn", rule,
                 static_cast<long long>(waited / kUs));
        group->done();
    });
}

// Convoy: everybody before us computes; preemption bounds the wait by a slice of each.
int64_t hogs_before_us(int64_t count, Group* group) {
    for (int64_t i = 0; i < count; i++)
        go([group] {
            for (int k = 0; k < 2000 && !is_over; k++) burn(50 * kUs);
            group->done();
        });
    return 25 * kMs * (count / g_config.processors + 2);
}

// A pair that wakes each other shares one slice, however often it hands over (next slot).
int64_t pairs_before_us(int64_t count, Group* group) {
    struct Pair {
        Semaphore ping, pong;
    };
    for (int64_t i = 0; i < count; i++) {
        auto pair = std::make_shared<Pair>();
        go([pair, group] {
            while (!is_over) {
                pair->ping.post();
                burn(20 * kUs);
                pair->pong.take();
            }
            pair->ping.post();
            group->done();
        });
        go([pair, group] {
            while (!is_over) {
                pair->ping.take();
                burn(20 * kUs);
                pair->pong.post();
            }
            pair->pong.post();
            group->done();
        });
    }
    return 25 * kMs * (2 * count / g_config.processors + 2);
}

// Yielders keep every ring full; the global queue has its turn at each 61st start.
int64_t yielders_before_us(int64_t count, Group* group) {
    for (int64_t i = 0; i < count; i++)
        go([group] {
            while (!is_over) {
                burn(20 * kUs);
                let_others();
            }
            group->done();
        });
    return 10 * kMs;
}

}  // namespace

void fairness() {
    g_lateness_bound_ns += 2000 * kMs;  // not what is asked here
    const int64_t rounds = 3;
    const auto kind = static_cast<int>(g_program.below(3));
    const int64_t count = g_program.between(1, g_config.processors + 3);
    Group crowd(kind == 1 ? 2 * count : count), group(rounds);
    int64_t bound = kind == 0   ? hogs_before_us(count, &crowd)
                    : kind == 1 ? pairs_before_us(count, &crowd)
                                : yielders_before_us(count, &crowd);
    bound *= 2 + g_config.processors / g_config.cpus;  // workers wait for a CPU, too
    // From the main fiber to its processor's queue, from a foreign thread to the global one.
    static const char* const kRules[] = {"A17", "A6", "A8"};
    auto ask = [&group, bound, kind](void (*rest)(int64_t)) {
        for (int64_t i = 0; i < rounds; i++) {
            rest(1 + g_program.skewed(3 * kMs));
            expect_turn(bound, kRules[kind], &group);
        }
    };
    if (kind == 2 || g_program.one_in(2))
        start_foreign([ask] { ask(nap); });
    else
        ask(sleep_for);
    group.wait();
    is_over = true;
    crowd.wait();
}

}  // namespace pfiber::sim
