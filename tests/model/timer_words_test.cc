// A waiter's deadline against whoever runs the timers: T2, the deadline of an earlier wait does not
// end a later one.
#include <gtest/gtest.h>

#include "scheduler/park_word.h"
#include "scheduler/timer_heap.h"
#include "tests/model/platform.h"

namespace pfiber::model {
namespace {

constexpr int64_t kSoon = 10, kNow = 100, kLater = 1000;

struct State {
    ParkWord<ModelPlatform> park;
    TimerWords<ModelPlatform> timer;
    bool is_ready = false;

    Wake wait(int64_t deadline_ns) {
        is_ready = false;
        timer.arm(park.arm(), deadline_ns);
        if (park.commit()) Explorer::wait_until([this] { return is_ready; });
        timer.disarm();
        return park.outcome();
    }
    uint32_t opened() { return park.raw().peek() >> 8; }  // sequence of the newest wait
    void end(uint32_t sequence, Wake outcome) {
        if (park.claim(sequence, outcome) == ParkWord<ModelPlatform>::Claim::kMustReady)
            is_ready = true;
    }
};

TEST(TimerWords, T2AnOldDeadlineEndsNoNewWait) {
    const Result result = Explorer(3).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        return Scenario{{[s] {
                             s->wait(kSoon);
                             if (s->wait(kLater) == Wake::kTimeout)
                                 Explorer::fail("T2: ended before its deadline");
                         },
                         [s] {
                             const auto due = s->timer.read();
                             if (due.deadline_ns != 0 && due.deadline_ns <= kNow)
                                 s->end(due.sequence, Wake::kTimeout);
                         },
                         [s] {
                             for (uint32_t wait = 1; wait <= 2; wait++) {
                                 Explorer::wait_until([=] { return s->opened() >= wait; });
                                 s->end(wait, Wake::kReady);
                             }
                         }},
                        nullptr,
                        state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 100);
}

}  // namespace
}  // namespace pfiber::model
