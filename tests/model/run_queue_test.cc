// RunQueue under every interleaving: Q1, an item is taken exactly once; Q2, is_empty() misses no
// item that moves from the next slot into the ring.
#include "scheduler/run_queue.h"

#include <gtest/gtest.h>

#include <map>

#include "scheduler/global_queue.h"
#include "tests/model/platform.h"

namespace pfiber::model {
namespace {

struct Item {
    int id = 0;
    Item* queue_next = nullptr;
};
using Queue = RunQueue<ModelPlatform, Item>;

struct State {
    Queue queue;
    Item items[300];
    std::map<Item*, int> taken;

    State() {
        for (int i = 0; i < 300; i++) items[i].id = i;
    }

    void put(int i, bool next) {
        queue.put(&items[i], next, [this](Item** batch, uint32_t count) {
            for (uint32_t k = 0; k < count; k++) taken[batch[k]]++;
        });
    }
    void get() {
        bool inherits;
        if (Item* item = queue.get(&inherits)) taken[item]++;
    }
    void steal(bool take_next) {
        Item* batch[Queue::kCapacity / 2];
        const uint32_t count = queue.grab(batch, take_next);
        for (uint32_t i = 0; i < count; i++) taken[batch[i]]++;
    }
    // The rest is drained, then each of the first `count` was taken once.
    std::string check(int count) {
        for (int i = 0; i < count; i++) get();
        if (!queue.is_empty()) return "not empty after draining";
        for (int i = 0; i < count; i++)
            if (taken[&items[i]] != 1)
                return "Q1: item " + std::to_string(i) + " taken " +
                       std::to_string(taken[&items[i]]) + " times";
        return "";
    }
};

TEST(RunQueue, Q1OwnerAndThieves) {
    const Result result = Explorer(3).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        s->put(0, false);
        s->put(1, true);
        return Scenario{{[s] {
                             s->put(2, true);
                             s->get();
                             s->put(3, false);
                             s->get();
                         },
                         [s] { s->steal(true); }, [s] { s->steal(false); }},
                        [s] { return s->check(4); },
                        state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
}

TEST(RunQueue, Q1OverflowAgainstThief) {
    const Result result = Explorer(1).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        for (int i = 0; i < 256; i++) s->put(i, false);
        return Scenario{{[s] { s->put(256, false); }, [s] { s->steal(false); }},
                        [s] { return s->check(257); },
                        state};
    });
    EXPECT_EQ(result.failure, "");
}

// One item is there all the time: it moves into the ring, and the slot is emptied behind it.
TEST(RunQueue, Q2EmptyMissesNothing) {
    const Result result = Explorer(4).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        s->put(0, true);
        auto look = [s] {
            if (s->queue.is_empty()) Explorer::fail("Q2: an item was missed");
        };
        return Scenario{{[s] {
                             s->put(1, true);
                             s->get();
                         },
                         look, look},
                        [s] { return s->check(2); },
                        state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
}

// From the global queue to a ring: a worker that goes idle looks without the lock, here first.
TEST(RunQueue, W3ItemsOnTheirWayToARingAreSeen) {
    const Result result = Explorer(4).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        auto global = std::make_shared<GlobalQueue<ModelPlatform, Item>>();
        auto* g = global.get();
        for (int i = 0; i < 3; i++) g->push_back(&s->items[i]);
        return Scenario{
            {[s, g] { s->taken[g->take(3, [s](Item* item) { s->put(item->id, false); })]++; },
             [s, g] {
                 if (g->is_empty() && s->queue.is_empty()) Explorer::fail("W3: items were missed");
             }},
            [s, global] { return s->check(3); },
            state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 100);
}

}  // namespace
}  // namespace pfiber::model
