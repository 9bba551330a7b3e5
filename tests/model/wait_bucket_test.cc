// The wait queues under every interleaving: Q3, no wake-up is lost between validation and wake;
// deadlines, hand-over and requeue lose none either.
#include "scheduler/wait_bucket.h"

#include <gtest/gtest.h>

#include <new>

#include "tests/model/platform.h"

namespace pfiber::model {
namespace {

using Table = WaitTable<ModelPlatform, ModelLock, 4>;
using Node = Table::Node;
using Claim = Table::Claim;

// A waiting thread as a fiber is: its park word, and whether it was put on a run queue.
struct Waiter {
    ParkWord<ModelPlatform> park;
    bool is_ready = false;
    bool is_armed = false;
    uint32_t sequence = 0;
};

struct State {
    Table table;
    ModelAtomic<uint32_t> word{0};
    ModelAtomic<uint32_t> others[32];
    Waiter waiters[4];
    int inside = 0;
    int passed = 0;

    // In another bucket than the word's.
    const void* other() {
        for (auto& candidate : others)
            if (&table.bucket_of(&candidate) != &table.bucket_of(&word)) return &candidate;
        std::abort();
    }
    std::string leftovers() {
        for (const void* address : {static_cast<const void*>(&word), other()})
            if (table.bucket_of(address).first() != nullptr ||
                !table.bucket_of(address).nobody_waits())
                return "somebody is still queued";
        return "";
    }
};

// Always at the same address: which bucket an address selects must not differ between schedules.
std::shared_ptr<State> fresh_state() {
    alignas(State) static char storage[sizeof(State)];
    return {new (storage) State, [](State* state) { state->~State(); }};
}

void make_ready(Waiter* waiter) {
    if (waiter->is_ready) Explorer::fail("made runnable twice");
    waiter->is_ready = true;
}

auto sink() {
    return [](void* owner, ParkWord<ModelPlatform>*, Claim claim) {
        if (claim == Claim::kMustReady) make_ready(static_cast<Waiter*>(owner));
    };
}

struct Waited {
    bool validated = true;
    bool handed = false;
    Wake outcome = Wake::kReady;
};

template <class Validate>
Waited wait(State* s, Waiter* waiter, const void* address, Validate validate) {
    Node node;
    Waited waited;
    waiter->is_ready = false;
    node.bits = 1;
    node.identity = static_cast<uint32_t>(waiter - s->waiters) + 1;
    node.park = &waiter->park;
    node.owner = waiter;
    node.sequence = waiter->sequence = waiter->park.arm();
    waiter->is_armed = true;
    if (!s->table.enqueue(&node, address, false, validate, [] {})) {
        waiter->park.cancel();
        waited.validated = false;
        return waited;
    }
    if (waiter->park.commit()) Explorer::wait_until([waiter] { return waiter->is_ready; });
    waited.outcome = waiter->park.outcome();
    if (waited.outcome != Wake::kReady) s->table.leave(&node, [] {});
    if (node.linked) Explorer::fail("still linked after the wait");
    waited.handed = node.handed;
    return waited;
}

void interrupt(Waiter* waiter, Wake outcome) {
    Explorer::wait_until([waiter] { return waiter->is_armed; });
    if (waiter->park.claim(waiter->sequence, outcome) == Claim::kMustReady) make_ready(waiter);
}

TEST(WaitBucket, Q3WakeIsNotLost) {
    const Result result = Explorer(4).explore([] {
        auto state = fresh_state();
        State* s = state.get();
        return Scenario{{[s] {
                             while (s->word.load() == 0)
                                 wait(s, &s->waiters[0], &s->word,
                                      [s] { return s->word.load() == 0; });
                         },
                         [s] {
                             s->word.store(1);
                             s->table.wake(
                                 &s->word, 1, 1, [] {}, sink());
                         }},
                        [s] { return s->leftovers(); },
                        state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 50);
}

// As a program does that stores to its futex word and wakes: nothing but the waker's look keeps the
// store in front of it.
TEST(WaitBucket, Q3PlainStoreThenWake) {
    const Result result = Explorer(3).explore([] {
        auto state = fresh_state();
        State* s = state.get();
        return Scenario{{[s] {
                             while (s->word.load() == 0)
                                 wait(s, &s->waiters[0], &s->word,
                                      [s] { return s->word.load() == 0; });
                         },
                         [s] {
                             s->word.store(1, std::memory_order_release);
                             s->table.wake(
                                 &s->word, 1, 1, [] {}, sink());
                         }},
                        [s] { return s->leftovers(); },
                        state};
    });
    EXPECT_EQ(result.failure, "");
}

bool take(ModelAtomic<uint32_t>& word) {
    uint32_t seen = word.load();
    while (seen != 0)
        if (word.compare_exchange_strong(seen, seen - 1)) return true;
    return false;
}

void post(State* s) {
    s->word.fetch_add(1);
    s->table.wake(
        &s->word, 1, 1, [] {}, sink());
}

// Two wait for a token and pass it on; one of them may give up.  The patient one must get through:
// a wake that meets the one who gave up goes to the next.
TEST(WaitBucket, Q3GivingUpPassesTheWakeOn) {
    const Result result = Explorer(2).explore([] {
        auto state = fresh_state();
        State* s = state.get();
        auto blocked = [s] { return s->word.load() == 0; };
        return Scenario{
            {[s, blocked] {
                 while (!take(s->word))
                     if (wait(s, &s->waiters[0], &s->word, blocked).outcome == Wake::kTimeout)
                         return;
                 s->waiters[0].is_armed = true;  // too late for the deadline
                 post(s);
             },
             [s, blocked] {
                 while (!take(s->word)) wait(s, &s->waiters[1], &s->word, blocked);
                 post(s);
             },
             [s] { interrupt(&s->waiters[0], Wake::kTimeout); }, [s] { post(s); }},
            [s] { return s->leftovers(); },
            state};
    });
    EXPECT_EQ(result.failure, "");
    EXPECT_GT(result.schedules, 1000);
}

// A mutex as shim/mutex.cc has it.  fair_ns 0: each contended unlock hands over.
void lock(State* s, Waiter* waiter) {
    uint32_t expected = 0;
    if (s->word.compare_exchange_strong(expected, 1)) return;
    while (s->word.exchange(2) != 0)
        if (wait(s, waiter, &s->word, [s] { return s->word.load() == 2; }).handed) return;
}

void unlock(State* s, int64_t fair_ns) {
    uint32_t expected = 1;
    if (s->word.compare_exchange_strong(expected, 0)) return;
    s->table.release_or_hand_over(
        &s->word, fair_ns, [](uint32_t) {}, [s] { s->word.exchange(0); }, sink());
}

Scenario mutex_scenario(int threads, int rounds, int64_t fair_ns) {
    auto state = fresh_state();
    State* s = state.get();
    Scenario scenario;
    for (int i = 0; i < threads; i++)
        scenario.threads.push_back([=] {
            for (int round = 0; round < rounds; round++) {
                lock(s, &s->waiters[i]);
                if (++s->inside != 1) Explorer::fail("two holders");
                Explorer::point();
                s->inside--;
                s->passed++;
                unlock(s, fair_ns);
            }
        });
    scenario.check = [=]() -> std::string {
        return s->passed == threads * rounds ? s->leftovers() : "somebody did not get through";
    };
    scenario.state = state;
    return scenario;
}

TEST(WaitBucket, MutexExcludesAndLosesNobody) {
    EXPECT_EQ(Explorer(2).explore([] { return mutex_scenario(3, 1, 1000); }).failure, "");
    EXPECT_EQ(Explorer(2).explore([] { return mutex_scenario(2, 2, 1000); }).failure, "");
}

TEST(WaitBucket, MutexHandOver) {
    EXPECT_EQ(Explorer(2).explore([] { return mutex_scenario(3, 1, 0); }).failure, "");
    EXPECT_EQ(Explorer(2).explore([] { return mutex_scenario(2, 2, 0); }).failure, "");
}

// A word that names its owner, as shim/owner_word.h has it: handed over each time, while the waiter
// may be interrupted, who then finds somebody else's name or none.
constexpr uint32_t kWaiters = 0x80;

void lock_named(State* s, Waiter* waiter) {
    const auto self = static_cast<uint32_t>(waiter - s->waiters) + 1;
    uint32_t waiters = 0;
    for (;;) {
        uint32_t seen = s->word.load();
        if ((seen & ~kWaiters) == self) Explorer::fail("given to one that does not wait");
        if (seen == 0) {
            if (s->word.compare_exchange_strong(seen, self | waiters)) return;
            continue;
        }
        if ((seen & kWaiters) == 0 && !s->word.compare_exchange_strong(seen, seen | kWaiters))
            continue;
        const Waited waited =
            wait(s, waiter, &s->word, [s, seen] { return s->word.load() == (seen | kWaiters); });
        waiters = kWaiters;
        if (!waited.handed || waited.outcome != Wake::kReady) continue;
        if (s->word.load() != (self | kWaiters)) Explorer::fail("handed without its name");
        return;
    }
}

void unlock_named(State* s) {
    uint32_t seen = s->word.load();
    if ((seen & kWaiters) == 0 && s->word.compare_exchange_strong(seen, 0)) return;
    s->table.release_or_hand_over(
        &s->word, 0, [s](uint32_t identity) { s->word.store(identity | kWaiters); },
        [s] { s->word.exchange(0); }, sink());
}

TEST(WaitBucket, HandOverNamesTheOwner) {
    const Result result = Explorer(2).explore([] {
        auto state = fresh_state();
        State* s = state.get();
        Scenario scenario;
        for (int i = 0; i < 2; i++)
            scenario.threads.push_back([=] {
                lock_named(s, &s->waiters[i]);
                if (++s->inside != 1) Explorer::fail("two holders");
                Explorer::point();
                s->inside--;
                s->passed++;
                unlock_named(s);
            });
        scenario.threads.push_back([=] {
            s->word.load();
            if (s->waiters[0].is_armed) interrupt(&s->waiters[0], Wake::kSignal);
        });
        scenario.check = [=]() -> std::string {
            return s->passed == 2 ? s->leftovers() : "somebody did not get through";
        };
        scenario.state = state;
        return scenario;
    });
    EXPECT_EQ(result.failure, "");
}

// A waiter that is moved while it may be timing out is found on whichever queue it is.
TEST(WaitBucket, RequeueAgainstDeadline) {
    const Result result = Explorer(3).explore([] {
        auto state = fresh_state();
        State* s = state.get();
        return Scenario{{[s] {
                             wait(s, &s->waiters[0], &s->word, [] { return true; });
                             s->passed++;
                         },
                         [s] {
                             int moved = 0;
                             s->table.requeue(
                                 &s->word, 0, s->other(), 1, [] { return true; }, &moved, sink());
                             s->table.wake(
                                 s->other(), 1, 1, [] {}, sink());
                         },
                         [s] { interrupt(&s->waiters[0], Wake::kTimeout); }},
                        [s] { return s->passed == 1 ? s->leftovers() : "not woken"; },
                        state};
    });
    EXPECT_EQ(result.failure, "");
}

}  // namespace
}  // namespace pfiber::model
