// Submitters of work, workers that go idle, the monitor: W3 and W4, nobody sleeps while work that
// was submitted waits; the monitor does not sleep while a processor is in use.
#include "scheduler/wake_words.h"

#include <gtest/gtest.h>

#include "scheduler/run_queue.h"
#include "tests/model/platform.h"

namespace pfiber::model {
namespace {

struct Item {};

// The submitter runs on a processor of its own with one queue; others take from it.
struct State {
    WakeWords<ModelPlatform> words;
    RunQueue<ModelPlatform, Item> queue;
    ModelLock lock;
    Item items[2];
    int idle = 0;     // the list behind idle_processor_count
    int started = 0;  // workers that were woken; they look at every queue
    int taken = 0;

    Item* take_first() {
        if (idle == 0) return nullptr;
        idle--;
        words.idle_processor_count.fetch_sub(1);
        return items;
    }
    // Go: the second half of findRunnable.
    bool take_idle() {
        lock.acquire();
        const bool has_one = take_first() != nullptr;
        if (!has_one) words.need_spinning.store(1);
        lock.release();
        return has_one;
    }
    void wake() {
        if (!words.must_wake()) return;
        if (words.take_for_wake(lock, [this] { return take_first(); }) != nullptr) started++;
    }
    // A processor without work of its own is given away, as before a call.
    void hand_off() {
        if (words.must_spin_on()) {
            started++;
            return;
        }
        lock.acquire();
        idle++;
        words.idle_processor_count.fetch_add(1);
        lock.release();
        if (words.must_wake_for_note()) wake();
    }
    void submit(int i) {
        queue.put(&items[i], false, [](Item**, uint32_t) {});
        wake();
    }
    bool steal() {
        Item* batch[RunQueue<ModelPlatform, Item>::kCapacity / 2];
        const uint32_t count = queue.grab(batch, false);
        taken += static_cast<int>(count);
        return count > 0;
    }
    // A worker with a processor that looks for work, up to its sleep.  Go: the end of findRunnable.
    void look_for_work(bool is_spinning) {
        for (;;) {
            if (steal()) {
                if (is_spinning && words.was_last_spinner()) wake();
                return;
            }
            lock.acquire();
            if (!is_spinning && words.need_spinning.load() != 0) {
                is_spinning = true;
                words.spinning.fetch_add(1);
                words.need_spinning.store(0);
                lock.release();
                continue;
            }
            idle++;
            words.idle_processor_count.fetch_add(1);
            lock.release();
            const bool must_look = words.must_look_again(is_spinning);
            is_spinning = false;
            if (!must_look || queue.is_empty()) return;
            if (!take_idle()) return;
            is_spinning = true;
            words.spinning.fetch_add(1);
        }
    }
};

// `idle` other processors are idle.  The submitter runs on for ever after its submission, so
// somebody else has to know of the work.
Scenario submission(bool is_spinning, int idle) {
    auto state = std::make_shared<State>();
    State* s = state.get();
    s->idle = idle;
    s->words.idle_processor_count.store(idle);
    if (is_spinning) s->words.spinning.store(1);
    return Scenario{{[s] { s->submit(0); }, [=] { s->look_for_work(is_spinning); }},
                    [s]() -> std::string {
                        if (s->taken > 0 || s->started > 0) return "";
                        return "W3: work waits and everybody sleeps";
                    },
                    state};
}

TEST(WakeWords, W3WorkIsSeenByASpinner) {
    const Result result = Explorer(4).explore([] { return submission(true, 1); });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 100);
    EXPECT_EQ(Explorer(4).explore([] { return submission(true, 0); }).failure, "");
}

TEST(WakeWords, W4WorkIsSeenByWhoeverGoesIdle) {
    EXPECT_EQ(Explorer(4).explore([] { return submission(false, 0); }).failure, "");
    EXPECT_EQ(Explorer(4).explore([] { return submission(false, 1); }).failure, "");
}

// Two at once: the first one's spinner finds one item and wakes the next.
TEST(WakeWords, W4TwoSubmissions) {
    const Result result = Explorer(3).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        return Scenario{
            {[s] {
                 s->submit(0);
                 s->submit(1);
             },
             [s] { s->look_for_work(false); }},
            [s]() -> std::string { return s->taken > 0 || s->started > 0 ? "" : "W4: work waits"; },
            state};
    });
    EXPECT_EQ(result.failure, "");
}

// A spinner finds one of two items and nobody to wake; a processor is given away meanwhile by
// somebody who counts on the spinner.
TEST(WakeWords, W4WhoGivesAProcessorAwayLooksAtTheNote) {
    const Result result = Explorer(4).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        s->words.spinning.store(1);
        for (Item& item : s->items) s->queue.put(&item, false, [](Item**, uint32_t) {});
        return Scenario{
            {[s] { s->look_for_work(true); }, [s] { s->hand_off(); }},
            [s]() -> std::string { return s->started > 0 ? "" : "W4: an item is left"; },
            state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 100);
}

// A submitter that found no idle processor does not count as a spinner for another, which sees one
// that was given away meanwhile.
TEST(WakeWords, W3NobodyCountsOnASubmitterThatGaveUp) {
    const Result result = Explorer(3).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        s->words.idle_processor_count.store(1);  // taken by somebody else first
        s->idle = 1;
        return Scenario{{[s] { s->wake(); },
                         [s] {
                             s->take_idle();
                             s->hand_off();
                             s->submit(0);
                         }},
                        [s]() -> std::string { return s->started > 0 ? "" : "W3: work waits"; },
                        state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 100);
}

// Somebody takes a processor into use while the monitor decides to sleep without limit.
TEST(WakeWords, MonitorDoesNotSleepWhileAProcessorIsUsed) {
    const Result result = Explorer(4).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        s->words.idle_processor_count.store(1);
        return Scenario{{[s] {
                             s->words.idle_processor_count.fetch_sub(1);
                             s->words.ring_sleeping_monitor();
                         },
                         [s] {
                             const auto idle = [s] {
                                 return s->words.idle_processor_count.load() == 1;
                             };
                             while (idle()) s->words.monitor_sleep(idle, INT64_MAX);
                         }},
                        nullptr,
                        state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 10);
}

}  // namespace
}  // namespace pfiber::model
