// The explorer itself: it finds what it is there for, and its memory is x86's, no weaker and no
// stronger.
#include <gtest/gtest.h>

#include "tests/model/platform.h"

namespace pfiber::model {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// A claim that is a load and a store.
TEST(Explorer, FindsALostUpdate) {
    const Result result = Explorer(1).explore([] {
        auto count = std::make_shared<ModelAtomic<int>>(0);
        auto* c = count.get();
        auto add = [c] { c->store(c->load() + 1); };
        return Scenario{{add, add}, [c] { return c->peek() == 2 ? "" : "lost"; }, count};
    });
    EXPECT_NE(result.failure.find("lost"), std::string::npos);
    EXPECT_NE(result.failure.find("schedule:"), std::string::npos);
}

TEST(Explorer, FindsADeadlock) {
    struct Locks {
        ModelLock a, b;
    };
    const Result result = Explorer(1).explore([] {
        auto locks = std::make_shared<Locks>();
        auto* l = locks.get();
        return Scenario{{[l] {
                             l->a.acquire();
                             l->b.acquire();
                             l->b.release();
                             l->a.release();
                         },
                         [l] {
                             l->b.acquire();
                             l->a.acquire();
                             l->a.release();
                             l->b.release();
                         }},
                        nullptr,
                        locks};
    });
    EXPECT_NE(result.failure.find("deadlock"), std::string::npos);
}

struct Litmus {
    ModelAtomic<int> x{0}, y{0};
    int first = -1, second = -1;
};

// Each thread stores to one word and loads the other's: may both see nothing?
std::string store_then_load(int delays, std::memory_order order, bool fenced) {
    return Explorer(2, delays)
        .explore([=] {
            auto state = std::make_shared<Litmus>();
            auto* s = state.get();
            return Scenario{{[=] {
                                 s->x.store(1, order);
                                 if (fenced) ModelPlatform::fence();
                                 s->first = s->y.load(kRelaxed);
                             },
                             [=] {
                                 s->y.store(1, order);
                                 if (fenced) ModelPlatform::fence();
                                 s->second = s->x.load(kRelaxed);
                             }},
                            [s] { return s->first + s->second == 0 ? "passed" : ""; },
                            state};
        })
        .failure;
}

TEST(Explorer, ALoadPassesAnOlderStore) {
    EXPECT_NE(store_then_load(1, std::memory_order_release, false), "");
    EXPECT_EQ(store_then_load(0, std::memory_order_release, false), "");
    EXPECT_EQ(store_then_load(1, std::memory_order_release, true), "");
    EXPECT_EQ(store_then_load(1, std::memory_order_seq_cst, false), "");
}

TEST(Explorer, StoresStayInOrderAndSoDoLoads) {
    const Result result = Explorer(3, 3).explore([] {
        auto state = std::make_shared<Litmus>();
        auto* s = state.get();
        return Scenario{{[s] {
                             s->x.store(1, kRelaxed);
                             s->x.load(kRelaxed);
                             s->y.load(kRelaxed);
                             s->y.store(1, kRelaxed);
                         },
                         [s] {
                             s->second = s->y.load(kRelaxed);
                             s->first = s->x.load(kRelaxed);
                         }},
                        [s] { return s->second == 1 && s->first == 0 ? "out of order" : ""; },
                        state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.delayed, 0);
}

TEST(Explorer, AThreadSeesItsOwnStores) {
    const Result result = Explorer(3, 2).explore([] {
        auto state = std::make_shared<Litmus>();
        auto* s = state.get();
        return Scenario{{[s] {
                             s->x.store(1, kRelaxed);
                             s->y.load(kRelaxed);
                             if (s->x.load(kRelaxed) == 0) Explorer::fail("its own store is lost");
                         },
                         [s] { s->x.load(kRelaxed); }},
                        [s] { return s->x.peek() == 1 ? "" : "a store never left"; },
                        state};
    });
    EXPECT_EQ(result.failure, "");
}

}  // namespace
}  // namespace pfiber::model
