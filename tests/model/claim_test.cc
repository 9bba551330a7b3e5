// Claims, entries into the runtime and calls: W5, nobody's processor is taken while it uses the
// runtime; W2, a processor of a call belongs to one at a time.
#include "scheduler/claim.h"

#include <gtest/gtest.h>

#include "tests/model/records.h"

namespace pfiber::model {
namespace {

constexpr uint32_t kLost = kAttendClaim | kAttendRetaken;

struct State : Machine {
    int taken = 0;

    void wait_for_claim() {
        while ((fiber.attention.load(std::memory_order_acquire) & kAttendClaim) != 0)
            ModelPlatform::pause();
    }
    // As after a call; the attention word was looked at with the depth down.
    void regain() {
        after_call(&worker);
        fiber.depth--;
        fiber.depth++;
    }
    void enter() {
        if (raise_depth(&fiber, kLost))
            look_at_losses(
                &fiber, [this] { wait_for_claim(); }, [] {}, [this] { regain(); });
    }
    void use_runtime() {
        enter();
        use(worker.processor);
        fiber.depth--;
    }
    // A call that others may take the processor from.
    void call() {
        enter();
        ModelProcessor* mine = worker.processor;
        if (mine == nullptr) return Explorer::fail("W1: a call without a processor");
        count_call(mine);
        publish_call(mine);
        fiber.depth--;
        Explorer::point();
        raise_depth(&fiber, 0);
        after_call(&worker);
        use(worker.processor);
        fiber.depth--;
    }

    // The monitor finds the fiber asleep, rightly or not; another worker uses what it takes.
    void retake() {
        ProcessorView view;
        if (!view_running(&processor, &view)) return;
        ModelWorker* its = read_plain(processor.worker);
        if (its != &worker) return;
        if (!retake_from_program<ModelPlatform>(world_lock, &processor, its, &fiber, view,
                                                Explorer::drain_everybody))
            return;
        taken++;
        use(&processor);
        put_idle(&processor);
    }
    void retake_call() {
        if (!take_from_call(&processor, ProcessorStatus::kIdle)) return;
        taken++;
        use(&processor);
        put_idle(&processor);
    }
};

Result explore(int bound, void (*add)(State*, Scenario*)) {
    return Explorer(bound).explore([add] {
        auto state = std::make_shared<State>();
        Scenario scenario;
        scenario.state = state;
        add(state.get(), &scenario);
        return scenario;
    });
}

TEST(Claim, W5OneSeesTheOther) {
    const Result result = explore(4, [](State* s, Scenario* scenario) {
        scenario->threads = {[s] {
                                 s->use_runtime();
                                 s->use_runtime();
                             },
                             [s] { s->retake(); }};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
    EXPECT_GT(result.delayed, 100);
}

// While the fiber gets a processor again, its depth is down for a moment.
TEST(Claim, W5WhoRegainsIsClaimedAgain) {
    const Result result = explore(3, [](State* s, Scenario* scenario) {
        scenario->threads = {[s] {
                                 s->use_runtime();
                                 s->use_runtime();
                             },
                             [s] {
                                 s->retake();
                                 s->retake();
                             }};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
}

// The monitor's look is older than a call of the fiber, which ends while it is claimed.
TEST(Claim, W2W5ACallIsNoProgramCode) {
    const Result two = explore(4, [](State* s, Scenario* scenario) {
        scenario->threads = {[s] { s->call(); }, [s] { s->retake(); }};
    });
    EXPECT_EQ(two.failure, "");
    EXPECT_GT(two.schedules, 1000);
    const Result three = explore(2, [](State* s, Scenario* scenario) {
        scenario->threads = {[s] { s->call(); }, [s] { s->retake(); }, [s] { s->retake_call(); }};
    });
    EXPECT_EQ(three.failure, "");
    EXPECT_GT(three.schedules, 1000);
}

// A second worker returns from a call of its own, and takes its former processor out of the first
// one's call.
TEST(Claim, W2WhoReturnsTakesItFromACall) {
    const Result result = explore(3, [](State* s, Scenario* scenario) {
        auto second = std::make_shared<ModelWorker>();
        second->old_processor = &s->processor;
        scenario->threads = {[s] { s->call(); },
                             [s, second] {
                                 if (!return_from_call<ModelPlatform>(second.get())) return;
                                 use(second->processor);
                                 second->processor = nullptr;
                                 s->put_idle(&s->processor);
                             },
                             [s] { s->retake(); }};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
}

}  // namespace
}  // namespace pfiber::model
