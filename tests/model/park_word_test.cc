// ParkWord under every interleaving: F1, exactly one claim per wait succeeds; F2, exactly one of
// waiter and claimer makes the fiber runnable.
#include "scheduler/park_word.h"

#include <gtest/gtest.h>

#include "tests/model/platform.h"

namespace pfiber::model {
namespace {

using Word = ParkWord<ModelPlatform>;

struct State {
    Word word;
    uint32_t sequence[2] = {0, 0};
    int succeeded[2] = {0, 0};
    int must_ready = 0;  // by claimers
    int slept = 0;       // commits that succeeded
    bool is_ready = false;
};

void wait(State* state, int round) {
    state->is_ready = false;
    state->sequence[round] = state->word.arm();
    if (state->word.commit()) {
        state->slept++;
        Explorer::wait_until([state] { return state->is_ready; });
    }
}

void claim(State* state, int round, Wake outcome) {
    Explorer::wait_until([=] { return state->sequence[round] != 0; });
    switch (state->word.claim(state->sequence[round], outcome)) {
        case Word::Claim::kFailed:
            return;
        case Word::Claim::kMustReady:
            state->must_ready++;
            if (state->is_ready) Explorer::fail("made runnable twice");
            state->is_ready = true;
            break;
        case Word::Claim::kWaiterSees:
            break;
    }
    state->succeeded[round]++;
}

TEST(ParkWord, F1F2ThreeClaimers) {
    const Result result = Explorer(3).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        return Scenario{{[s] { wait(s, 0); }, [s] { claim(s, 0, Wake::kReady); },
                         [s] { claim(s, 0, Wake::kTimeout); }, [s] { claim(s, 0, Wake::kSignal); }},
                        [s]() -> std::string {
                            if (s->succeeded[0] != 1) return "F1: not exactly one claim";
                            if (s->must_ready != s->slept) return "F2: not exactly one wake-up";
                            return "";
                        },
                        state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 100);
}

TEST(ParkWord, F1StaleClaimsFail) {
    const Result result = Explorer(3).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        return Scenario{{[s] {
                             wait(s, 0);
                             wait(s, 1);
                         },
                         [s] { claim(s, 0, Wake::kReady); }, [s] { claim(s, 0, Wake::kTimeout); },
                         [s] { claim(s, 1, Wake::kReady); }},
                        [s]() -> std::string {
                            if (s->succeeded[0] != 1) return "F1: first wait";
                            if (s->succeeded[1] != 1) return "F1: second wait";
                            return "";
                        },
                        state};
    });
    EXPECT_EQ(result.failure, "");
}

TEST(ParkWord, F1CancelOrClaim) {
    const Result result = Explorer(4).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        return Scenario{{[s] {
                             s->sequence[0] = s->word.arm();
                             if (s->word.cancel()) s->succeeded[0]++;
                         },
                         [s] { claim(s, 0, Wake::kReady); }, [s] { claim(s, 0, Wake::kCancel); }},
                        [s]() -> std::string {
                            if (s->succeeded[0] != 1) return "F1: cancel and claim";
                            return s->must_ready == 0 ? "" : "F2: nobody slept";
                        },
                        state};
    });
    EXPECT_EQ(result.failure, "");
}

// F4: the sender sets the attention bit, then looks for an open wait; the waiter opens its wait,
// then looks at the bit.
TEST(ParkWord, F4AnInterruptionIsNotLost) {
    const Result result = Explorer(3).explore([] {
        auto state = std::make_shared<State>();
        State* s = state.get();
        auto attention = std::make_shared<ModelAtomic<uint32_t>>(0);
        ModelAtomic<uint32_t>* a = attention.get();
        return Scenario{
            {[s, a] {
                 const uint32_t sequence = s->word.arm();
                 if (a->load() != 0) s->word.claim(sequence, Wake::kSignal);
                 if (s->word.commit()) Explorer::wait_until([s] { return s->is_ready; });
             },
             [s, a] {
                 a->fetch_or(1);
                 const uint32_t open = s->word.open_sequence();
                 if (open != 0 && s->word.claim(open, Wake::kSignal) == Word::Claim::kMustReady)
                     s->is_ready = true;
             }},
            [s, attention] { return s->word.outcome() == Wake::kSignal ? "" : "F4: not seen"; },
            state};
    });
    EXPECT_EQ(result.failure, "");
}

}  // namespace
}  // namespace pfiber::model
