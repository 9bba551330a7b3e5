// A10: each victim once in a round, from every place and in more than one order.
#include "scheduler/victim_order.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace pfiber {
namespace {

std::vector<uint32_t> round_of(uint32_t count, uint32_t* random) {
    VictimOrder order(count, random);
    std::vector<uint32_t> visited;
    for (uint32_t i = 0; i < count; i++) visited.push_back(order.next());
    return visited;
}

TEST(VictimOrder, A10EachOnceInARound) {
    uint32_t random = 1;
    for (uint32_t count = 1; count <= 200; count++) {
        for (int round = 0; round < 50; round++) {
            const std::vector<uint32_t> visited = round_of(count, &random);
            const std::set<uint32_t> distinct(visited.begin(), visited.end());
            ASSERT_EQ(distinct.size(), count);
            ASSERT_LT(*distinct.rbegin(), count);
        }
    }
}

// Sixteen workers as create_worker() seeds them, a hundred rounds each.
TEST(VictimOrder, A10EveryPlaceIsFirstAndEveryStepIsTaken) {
    constexpr uint32_t kCount = 12;  // coprime: 1, 5, 7, 11
    std::set<uint32_t> first, steps;
    for (uint32_t id = 1; id <= 16; id++) {
        uint32_t random = id * 2654435761u | 1;
        for (int round = 0; round < 100; round++) {
            const std::vector<uint32_t> visited = round_of(kCount, &random);
            first.insert(visited[0]);
            steps.insert((visited[1] + kCount - visited[0]) % kCount);
        }
    }
    EXPECT_EQ(first.size(), kCount);
    EXPECT_EQ(steps, (std::set<uint32_t>{1, 5, 7, 11}));
}

}  // namespace
}  // namespace pfiber
