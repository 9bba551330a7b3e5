// PollerGate under every interleaving: B3, an event that arrives while one thread is inside an
// instance is seen, and never are two inside.
#include "scheduler/poller_gate.h"

#include <gtest/gtest.h>

#include "tests/model/platform.h"

namespace pfiber::model {
namespace {

struct State {
    PollerGate<ModelPlatform> gate;
    ModelAtomic<int> events{0};  // the kernel's ready list
    int inside = 0;
    int seen = 0;

    // epoll_wait(0) tests for events without a lock, and takes them with one.
    void look() {
        if (events.load(std::memory_order_relaxed) != 0) seen += events.exchange(0);
    }
    void poll() {
        if (!gate.enter()) return;
        do {
            if (++inside != 1) Explorer::fail("two are inside");
            look();
            inside--;
        } while (!gate.leave());
    }
};

TEST(PollerGate, B3AnEventMeanwhileIsSeen) {
    const Result result = Explorer(4).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        auto arrive = [s] {
            s->events.fetch_add(1);
            s->poll();
        };
        return Scenario{{arrive, arrive, arrive},
                        [s] { return s->seen == 3 ? "" : "B3: an event is left"; },
                        state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
}

}  // namespace
}  // namespace pfiber::model
