// The runtime's lock under every interleaving: one holder, and nobody sleeps on when it is free.
#include "scheduler/lock.h"

#include <gtest/gtest.h>

#include "tests/model/platform.h"

namespace pfiber::model {
namespace {

template <int kSpins>
Scenario holders(int threads, int rounds) {
    struct State {
        BasicLock<ModelPlatform, kSpins> lock;
        ModelAtomic<int> inside{0};
        int passed = 0;
    };
    auto state = std::make_shared<State>();
    State* s = state.get();
    Scenario scenario;
    for (int i = 0; i < threads; i++)
        scenario.threads.push_back([s, rounds] {
            for (int round = 0; round < rounds; round++) {
                s->lock.acquire();
                // Plain accesses, as those of what a lock protects: a store that is still buffered
                // when the next holder enters would be seen here.
                const int seen = s->inside.load(std::memory_order_relaxed);
                if (seen != s->passed) Explorer::fail("two holders, or a store came late");
                s->inside.store(seen + 1, std::memory_order_relaxed);
                s->passed++;
                s->lock.release();
            }
        });
    scenario.check = [=]() -> std::string {
        if (s->inside.peek() != threads * rounds) return "an update is lost";
        return s->lock.try_acquire() ? "" : "still held";
    };
    scenario.state = state;
    return scenario;
}

TEST(Lock, OneHolderAndNobodySleepsOn) {
    EXPECT_EQ(Explorer(3).explore([] { return holders<0>(2, 2); }).failure, "");
    EXPECT_EQ(Explorer(2).explore([] { return holders<0>(3, 1); }).failure, "");
    EXPECT_EQ(Explorer(2).explore([] { return holders<1>(3, 1); }).failure, "");
}

}  // namespace
}  // namespace pfiber::model
