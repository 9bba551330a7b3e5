// The table behind "will this call last?": convinced by one long call, persuaded back by few short
// ones, forgetful, and bounded in what it gets wrong.
#include "scheduler/prediction.h"

#include <gtest/gtest.h>

namespace pfiber {
namespace {

constexpr int64_t kSecond = 1000000000;
constexpr uint32_t kKey = call_key(17, 0x400123);

class Prediction : public testing::Test {
  protected:
    void SetUp() override { forget_calls(); }
};

// How many calls in a row are predicted to last although they do not.
int wrong_after(int long_calls) {
    for (int i = 0; i < long_calls; i++) learn_call(kKey, CallLength::kLong, kSecond);
    int wrong = 0;
    while (predicts_long(kKey)) {
        wrong++;
        learn_call(kKey, CallLength::kShort, kSecond);
    }
    return wrong;
}

TEST_F(Prediction, KnowsNothingAtFirst) { EXPECT_FALSE(predicts_long(kKey)); }

TEST_F(Prediction, ShortCallsTeachNothingNew) {
    for (int i = 0; i < 1000; i++) learn_call(kKey, CallLength::kShort, kSecond);
    EXPECT_FALSE(predicts_long(kKey));
    learn_call(kKey, CallLength::kLong, kSecond);
    EXPECT_TRUE(predicts_long(kKey));
}

TEST_F(Prediction, OneLongCallCostsOneWrongPrediction) { EXPECT_EQ(wrong_after(1), 1); }

TEST_F(Prediction, ManyLongCallsCostFewWrongPredictions) { EXPECT_LE(wrong_after(1000), 4); }

TEST_F(Prediction, RareLongCallsAreWrongAtMostThreeTimesEach) {
    int wrong = 0;
    for (int i = 0; i < 1000; i++) {
        const bool is_long = i % 10 == 0;
        if (predicts_long(kKey) != is_long) wrong++;
        learn_call(kKey, is_long ? CallLength::kLong : CallLength::kShort, kSecond);
    }
    EXPECT_LE(wrong, 300);
}

TEST_F(Prediction, WhatTheCacheAnsweredIsForgottenSlowly) {
    learn_call(kKey, CallLength::kLong, kSecond);
    for (int i = 0; i < 5; i++) learn_call(kKey, CallLength::kFoundShort, kSecond);
    EXPECT_TRUE(predicts_long(kKey));
    for (int i = 0; i < 100; i++) learn_call(kKey, CallLength::kFoundShort, kSecond);
    EXPECT_FALSE(predicts_long(kKey));
}

TEST_F(Prediction, WhatNobodyAskedForInASecondIsForgotten) {
    learn_call(kKey, CallLength::kLong, 5 * kSecond);
    EXPECT_FALSE(is_forgotten(kKey, 5 * kSecond + kSecond / 2));
    EXPECT_TRUE(is_forgotten(kKey, 6 * kSecond + kSecond / 2));
}

TEST_F(Prediction, KeysDoNotDisturbEachOther) {
    // Far more keys than slots: each is either known or replaced, never mistaken for another.
    int known = 0;
    for (uint64_t site = 0; site < 100000; site++)
        learn_call(call_key(3, site * 5 + 1), CallLength::kLong, kSecond);
    for (uint64_t site = 0; site < 100000; site++) known += predicts_long(call_key(4, site * 5 + 2));
    EXPECT_LE(known, 100000 / 100);  // the tag has eight bits
}

TEST_F(Prediction, ShortCallsLeaveTheSlotOfAnotherKeyAlone) {
    learn_call(kKey, CallLength::kLong, kSecond);
    for (uint64_t site = 0; site < 100000; site++)
        if (call_key(5, site) >> 24 != kKey >> 24)
            learn_call(call_key(5, site), CallLength::kShort, kSecond);
    EXPECT_TRUE(predicts_long(kKey));
}

TEST_F(Prediction, KeysAreNeverNone) {
    for (uint64_t i = 0; i < 100000; i++) EXPECT_NE(call_key(static_cast<long>(i % 400), i), 0u);
}

}  // namespace
}  // namespace pfiber
