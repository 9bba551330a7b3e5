// The table behind "will this call last?": convinced by some long calls, persuaded back by few
// short ones, forgetful, and bounded in what it gets wrong.
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

void learn(int calls, CallLength length) {
    for (int i = 0; i < calls; i++) learn_call(kKey, length, kSecond);
}

// How many calls in a row are predicted to last although they do not.
int wrong_after(int long_calls) {
    learn(long_calls, CallLength::kLong);
    int wrong = 0;
    for (; call_history(kKey) == CallHistory::kLong; wrong++) learn(1, CallLength::kShort);
    return wrong;
}

TEST_F(Prediction, KnowsNothingAtFirst) { EXPECT_EQ(call_history(kKey), CallHistory::kShort); }

TEST_F(Prediction, ShortCallsTeachNothingNew) {
    learn(1000, CallLength::kShort);
    learn(1, CallLength::kLong);
    EXPECT_EQ(call_history(kKey), CallHistory::kMixed);
}

TEST_F(Prediction, FiveLongCallsConvince) {
    learn(4, CallLength::kLong);
    EXPECT_NE(call_history(kKey), CallHistory::kLong);
    learn(1, CallLength::kLong);
    EXPECT_EQ(call_history(kKey), CallHistory::kLong);
}

TEST_F(Prediction, FewWrongPredictionsAfterManyLongCalls) {
    EXPECT_EQ(wrong_after(5), 1);
    EXPECT_LE(wrong_after(1000), 2);
}

TEST_F(Prediction, HalfLongCallsAreNotHandedOff) {
    int handed_off = 0;
    for (int i = 0; i < 1000; i++) {
        handed_off += call_history(kKey) == CallHistory::kLong;
        learn(1, i % 2 == 0 ? CallLength::kLong : CallLength::kShort);
    }
    EXPECT_EQ(handed_off, 0);
}

TEST_F(Prediction, RareShortCallsChangeNothing) {
    int handed_off = 0;
    for (int i = 0; i < 1000; i++) {
        handed_off += call_history(kKey) == CallHistory::kLong;
        learn(1, i % 10 == 9 ? CallLength::kShort : CallLength::kLong);
    }
    EXPECT_GE(handed_off, 900);
}

TEST_F(Prediction, WhatTheCacheAnsweredIsForgottenSlowly) {
    learn(1, CallLength::kLong);
    learn(20, CallLength::kFoundShort);
    EXPECT_EQ(call_history(kKey), CallHistory::kMixed);
    learn(100, CallLength::kFoundShort);
    EXPECT_EQ(call_history(kKey), CallHistory::kShort);
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
    for (uint64_t site = 0; site < 100000; site++)
        known += call_history(call_key(4, site * 5 + 2)) != CallHistory::kShort;
    EXPECT_LE(known, 100000 / 100);  // the tag has eight bits
}

TEST_F(Prediction, ShortCallsLeaveTheSlotOfAnotherKeyAlone) {
    learn_call(kKey, CallLength::kLong, kSecond);
    for (uint64_t site = 0; site < 100000; site++)
        if (call_key(5, site) >> 24 != kKey >> 24)
            learn_call(call_key(5, site), CallLength::kShort, kSecond);
    EXPECT_EQ(call_history(kKey), CallHistory::kMixed);
}

TEST_F(Prediction, KeysAreNeverNone) {
    for (uint64_t i = 0; i < 100000; i++) EXPECT_NE(call_key(static_cast<long>(i % 400), i), 0u);
}

}  // namespace
}  // namespace pfiber
