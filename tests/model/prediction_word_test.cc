// One slot of the prediction table under every interleaving: what is read is one key's, made of no
// more observations than were made of that key.
#include "scheduler/prediction_word.h"

#include <gtest/gtest.h>

#include "tests/model/platform.h"

namespace pfiber::model {
namespace {

constexpr int64_t kSecond = 1000000000;
constexpr uint32_t kKey = 0x11000001, kOther = 0x22000001;  // the same slot, other tags

using Word = PredictionWord<ModelPlatform>;

// Between two keys: a hand-off needs five long calls of one and the same.
TEST(PredictionWord, KeysOfOneSlotDoNotAddUp) {
    const Result result = Explorer(4).explore([] {
        auto word = std::make_shared<Word>();
        Word* w = word.get();
        for (int i = 0; i < 3; i++) w->learn(kKey, CallLength::kLong, kSecond);
        return Scenario{{[w] { w->learn(kKey, CallLength::kLong, kSecond); },
                         [w] {
                             for (int i = 0; i < 2; i++)
                                 w->learn(kOther, CallLength::kLong, kSecond);
                         },
                         [w] {
                             if (w->history(kOther) == CallHistory::kLong ||
                                 w->history(kKey) == CallHistory::kLong)
                                 Explorer::fail("a key is convinced by another one's calls");
                         }},
                        [w] {
                            return w->history(kOther) == CallHistory::kLong ||
                                           w->history(kKey) == CallHistory::kLong
                                       ? "a key is convinced by another one's calls"
                                       : "";
                        },
                        word};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 100);
}

// Of one key from two threads: at worst an observation is lost, and none counts twice.
TEST(PredictionWord, ARaceLosesObservationsOnly) {
    int convinced = 0, schedules = 0;
    const Result result = Explorer(4).explore([&] {
        auto word = std::make_shared<Word>();
        Word* w = word.get();
        for (int i = 0; i < 2; i++) w->learn(kKey, CallLength::kLong, kSecond);
        auto learn = [w] { w->learn(kKey, CallLength::kLong, kSecond); };
        auto learn_twice = [learn] { learn(), learn(); };
        return Scenario{{learn, learn_twice},
                        [&, w] {
                            schedules++;
                            convinced += w->history(kKey) == CallHistory::kLong;
                            // Three were made in any case, two more at most.
                            return w->history(kKey) == CallHistory::kShort ? "evidence is lost"
                                                                           : "";
                        },
                        word};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(convinced, 0);          // one after the other
    EXPECT_LT(convinced, schedules);  // at the same time
}

// A short call that began when the slot was this key's takes nothing from the next one's evidence
// for good: the slot is either's, whole.
TEST(PredictionWord, AShortCallLeavesNoStrangeEvidence) {
    const Result result = Explorer(4).explore([] {
        auto word = std::make_shared<Word>();
        Word* w = word.get();
        for (int i = 0; i < 5; i++) w->learn(kKey, CallLength::kLong, kSecond);
        return Scenario{{[w] { w->learn(kKey, CallLength::kShort, kSecond); },
                         [w] { w->learn(kOther, CallLength::kLong, 3 * kSecond); }},
                        [w] {
                            const bool is_old = w->history(kKey) != CallHistory::kShort;
                            const bool is_new = w->history(kOther) != CallHistory::kShort;
                            if (is_old == is_new) return "the slot is nobody's, or both keys'";
                            if (is_new && w->history(kOther) != CallHistory::kMixed)
                                return "a single long call convinced";
                            // With the time of its own last long call.
                            return w->is_forgotten(3 * kSecond) == is_old ? ""
                                                                          : "another one's time";
                        },
                        word};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 3);
}

}  // namespace
}  // namespace pfiber::model
