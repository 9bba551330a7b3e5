// Stopping the world: C1, from stop to start the processor is the stopper's alone, whatever its
// fiber does meanwhile; the stop comes about and everybody goes on after it.
#include "scheduler/world_words.h"

#include <gtest/gtest.h>

#include "tests/model/records.h"

namespace pfiber::model {
namespace {

constexpr uint32_t kLost = kAttendClaim | kAttendRetaken | kAttendStop;

struct State : Machine {
    WorldWords<ModelPlatform> world;
    ModelProcessor heir;
    int stops = 0;

    State() { heir.status.store(ProcessorStatus::kStopped); }

    // Go: pidleput.  In a world that stops nothing goes on the list.
    void put_idle_unless_stopped(ModelProcessor* mine) {
        if (world.give_to_stopper(mine)) return;
        lock.acquire();
        mine->worker = nullptr;
        const bool is_stopping = world.stop_requested.load() != 0;
        mine->status.store(is_stopping ? ProcessorStatus::kStopped : ProcessorStatus::kIdle);
        if (!is_stopping) idle = mine;
        lock.release();
        if (is_stopping) world.tell_stopper();
    }
    void stop_here() {
        if (world.stop_requested.load() == 0) return;
        ModelProcessor* mine = worker.processor;
        worker.processor = nullptr;
        if (world.give_to_stopper(mine))
            acquire_idle(&worker);
        else
            worker.processor = mine;
    }
    void enter() {
        if (raise_depth(&fiber, kLost))
            look_at_losses(
                &fiber, [this] { world.wait_for_claim(&fiber); }, [this] { stop_here(); },
                [this] {
                    after_call(&worker);
                    fiber.depth--;
                    fiber.depth++;
                });
    }
    void leave() {
        fiber.depth--;
        if (fiber.attention.load(std::memory_order_relaxed) == 0) return;
        enter();
        fiber.depth--;
    }
    void use_runtime() {
        enter();
        use(worker.processor);
        leave();
    }
    // Of the program, during a call; in the runtime for a moment.
    void handler() {
        raise_depth(&fiber, 0);
        world.wait_for_claim(&fiber);
        fiber.depth--;
    }
    void call() {
        enter();
        ModelProcessor* mine = worker.processor;
        if (mine == nullptr) return Explorer::fail("W1: a call without a processor");
        count_call(mine);
        publish_call(mine);
        fiber.depth--;
        handler();
        raise_depth(&fiber, 0);
        after_call(&worker);
        use(worker.processor);
        leave();
    }
    // Its worker finds nothing else to run.
    void finish() {
        enter();
        use(worker.processor);
        ModelProcessor* mine = worker.processor;
        worker.processor = nullptr;
        put_idle_unless_stopped(mine);
    }

    // The fiber that it was taken from gets another one.
    void remove() {
        if (processor.halted != nullptr) {
            processor.halted = nullptr;
            processor.worker = nullptr;
            deprive(&worker, &fiber);
        }
        put_idle(&heir);
    }
    void stop_and_start(bool removes) {
        world_lock.acquire();
        lock.acquire();
        world.stop_requested.store(1);
        if (idle != nullptr) idle->status.store(ProcessorStatus::kStopped);
        idle = nullptr;
        lock.release();
        world.gather([this] { return world.stop(&processor, Explorer::drain_everybody); }, 100000);
        if (processor.status.load() != ProcessorStatus::kStopped) Explorer::fail("C1: not stopped");
        use(&processor);
        use(&processor);
        lock.acquire();
        world.stop_requested.store(0);
        lock.release();
        if (removes)
            remove();
        else if (processor.halted != nullptr)
            world.resume(&processor);
        else
            put_idle(&processor);
        world.wake_halted();
        world_lock.release();
        stops++;
    }
    // The monitor finds the fiber asleep, rightly or not.
    void retake() {
        ProcessorView view;
        if (!view_running(&processor, &view) || read_plain(processor.worker) != &worker) return;
        if (!retake_from_program<ModelPlatform>(world_lock, &processor, &worker, &fiber, view,
                                                Explorer::drain_everybody))
            return;
        use(&processor);
        put_idle_unless_stopped(&processor);
    }
};

Result explore(int bound, void (*program)(State*), bool removes = false, bool is_inside = false) {
    return Explorer(bound).explore([=] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        if (is_inside) s->fiber.depth = 1;
        return Scenario{{[=] { program(s); }, [=] { s->stop_and_start(removes); }},
                        [s] { return s->stops == 1 ? "" : "C1: the world did not stop"; },
                        state};
    });
}

TEST(WorldWords, C1AFiberInProgramCodeIsHalted) {
    const auto program = [](State* s) {
        s->use_runtime();
        s->use_runtime();
        s->finish();
    };
    const Result result = explore(3, program);
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
    EXPECT_GT(result.delayed, 100);
}

TEST(WorldWords, C1AProcessorInACallIsTaken) {
    const auto program = [](State* s) {
        s->call();
        s->finish();
    };
    const Result result = explore(2, program);
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
}

// A claim of the monitor would end as it began, and let a halted fiber go.
TEST(WorldWords, C1TheMonitorClaimsNobodyMeanwhile) {
    const Result result = Explorer(2).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        return Scenario{
            {[s] { s->use_runtime(); }, [s] { s->stop_and_start(false); }, [s] { s->retake(); }},
            nullptr,
            state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
}

// Its processor goes while it computes.
TEST(WorldWords, C2AFiberWhoseProcessorIsRemovedGetsAnother) {
    const auto program = [](State* s) {
        s->use_runtime();
        s->finish();
    };
    const Result result = explore(3, program, true);
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
}

// A handler that runs during a call may meet the claim of a stopper that looked too late, and a
// processor that stays stopped for ever.
TEST(WorldWords, C2AHandlerDoesNotWaitForARemovedProcessor) {
    const auto program = [](State* s) {
        count_call(&s->processor);
        publish_call(&s->processor);
        s->fiber.depth--;
        s->handler();
    };
    const Result result = explore(4, program, true, true);  // entered before the stop
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
}

}  // namespace
}  // namespace pfiber::model
