// Simulated programs on wait queues: locks, counts and conditions built as the shim builds them.
#include <algorithm>
#include <memory>

#include "scheduler/wait_queue.h"
#include "tests/sim/workload.h"
#include "tests/sim/workloads.h"

namespace pfiber::sim {

namespace {

constexpr int64_t kUs = 1000, kMs = 1000000;

// 0 free, 1 held, 2 held and somebody may wait.
class Mutex {
  public:
    Platform::Atomic<uint32_t> word{0};

    bool lock(int64_t deadline_ns = kNever) {
        uint32_t expected = 0;
        if (word.compare_exchange_strong(expected, 1)) return entered();
        return lock_contended(deadline_ns);
    }
    // Also for who comes from another queue: others may have been moved here with it.
    bool lock_contended(int64_t deadline_ns = kNever) {
        OptionalSection section;
        WaitRequest request;
        request.address = &word;
        request.argument = this;
        request.validate = [](const void*, void* mutex) {
            return static_cast<Mutex*>(mutex)->word.exchange(2) != 0;
        };
        request.reason = WaitReason::kMutex;
        request.deadline_ns = deadline_ns;
        request.since_ns = now();
        for (;;) {
            const WaitResult result = wait_on_address(request);
            if (!result.validated || result.handed) return entered();
            if (result.outcome == Wake::kTimeout) return false;
            request.at_front = result.outcome == Wake::kReady;
        }
    }
    void unlock() {
        if (--holders_ != 0) fail("two hold a lock");
        uint32_t held = 1;
        if (word.compare_exchange_strong(held, 0)) return;
        release_address(
            &word, [](void* mutex) { static_cast<Mutex*>(mutex)->word.store(0); }, this);
    }

    bool entered() {
        if (++holders_ != 1) fail("two hold a lock");
        return true;
    }

  private:
    int holders_ = 0;
};

bool is_zero(const void*, void* word) {
    return static_cast<Platform::Atomic<uint32_t>*>(word)->load() == 0;
}

}  // namespace

void mutexes() {
    const int64_t fibers = g_program.between(2, 12), threads = g_program.below(3);
    const int64_t rounds = g_program.between(5, 40);
    Mutex mutex;
    int64_t total = 0, expected = 0;
    Group group(fibers + threads);
    const auto body = [&, rounds] {
        for (int64_t k = 0; k < rounds; k++) {
            const bool is_timed = g_program.one_in(4);
            if (!mutex.lock(is_timed ? now() + 1 + g_program.skewed(100 * kUs) : kNever)) continue;
            expected++;
            const int64_t seen = total;
            if (current_fiber() == nullptr)
                nap(g_program.skewed(20 * kUs));
            else if (g_program.one_in(4))
                sleep_for(g_program.skewed(2 * kMs));
            else
                burn(g_program.skewed(20 * kUs));
            total = seen + 1;
            mutex.unlock();
        }
        group.done();
    };
    for (int64_t i = 0; i < threads; i++) start_foreign(body);
    for (int64_t i = 0; i < fibers; i++) go(body);
    group.wait();
    if (total != expected) fail("a lock let two in");
}

// Semaphores: a waker changes the word, then looks; a waiter looks under the lock (Q3).
void counts() {
    const int64_t pairs = g_program.between(1, 8), rounds = g_program.between(5, 60);
    Platform::Atomic<uint32_t> word{0};
    Group group(2 * pairs);
    const auto take = [&word] {
        OptionalSection section;
        for (;;) {
            uint32_t count = word.load();
            if (count > 0 && word.compare_exchange_strong(count, count - 1)) return;
            if (count > 0) continue;
            wait_on_address(&word, is_zero, &word, nullptr,
                            g_program.one_in(4) ? now() + 1 + g_program.skewed(50 * kUs) : kNever,
                            WaitReason::kSemaphore);
        }
    };
    const auto post = [&word] {
        word.fetch_add(1);
        wake_address(&word, 1);
    };
    for (int64_t i = 0; i < pairs; i++) {
        const auto taker = [&, take, rounds] {
            for (int64_t k = 0; k < rounds; k++) take();
            group.done();
        };
        const auto poster = [&, post, rounds] {
            for (int64_t k = 0; k < rounds; k++) {
                if (current_fiber() == nullptr)
                    nap(1 + g_program.skewed(50 * kUs));
                else if (g_program.one_in(3))
                    sleep_for(g_program.skewed(50 * kUs));
                post();
            }
            group.done();
        };
        g_program.one_in(5) ? start_foreign(taker) : void(go(taker));
        g_program.one_in(5) ? start_foreign(poster) : void(go(poster));
    }
    group.wait();
    if (word.peek() != 0) fail("a count is left over");
}

// Broadcast by moving the waiters to the lock's queue.
void conditions() {
    const int64_t fibers = g_program.between(1, 12), rounds = g_program.between(3, 20);
    Mutex mutex;
    Platform::Atomic<uint32_t> sequence{0};
    int64_t generation = 0, arrived = 0;
    Group group(fibers);
    for (int64_t i = 0; i < fibers; i++)
        go([&, fibers, rounds] {
            for (int64_t k = 0; k < rounds; k++) {
                burn(g_program.skewed(30 * kUs));
                mutex.lock();
                const int64_t mine = generation;
                if (++arrived == fibers) {
                    arrived = 0;
                    generation++;
                    sequence.fetch_add(1);
                    mutex.word.store(2);  // those who are moved must be seen by the unlock
                    int moved = 0;
                    RuntimeSection section(self());
                    requeue_address(&sequence, static_cast<int>(g_program.below(2)), &mutex.word,
                                    INT32_MAX, nullptr, nullptr, &moved);
                }
                while (generation == mine) {
                    struct Wait {
                        Mutex* mutex;
                        Platform::Atomic<uint32_t>* sequence;
                        uint32_t seen;
                    } wait{&mutex, &sequence, sequence.load()};
                    {
                        RuntimeSection section(self());
                        WaitRequest request;
                        request.address = &sequence;
                        request.argument = &wait;
                        request.validate = [](const void*, void* argument) {
                            auto* it = static_cast<Wait*>(argument);
                            return it->sequence->load() == it->seen;
                        };
                        request.after_enqueue = [](void* argument) {
                            static_cast<Wait*>(argument)->mutex->unlock();
                        };
                        request.reason = WaitReason::kCond;
                        const WaitResult result = wait_on_address(request);
                        if (!result.validated) fail("the lock is held and the sequence changed");
                        if (result.handed) {
                            mutex.entered();
                            continue;
                        }
                    }
                    mutex.lock_contended();
                }
                mutex.unlock();
            }
            group.done();
        });
    group.wait();
}

// Some take a lock again as soon as they have released it; one wants it now and then.  Its wait
// ends a millisecond after it began, when those before it in the queue had their turn.
void unfair_mutex() {
    g_machine.calm();
    g_lateness_bound_ns = INT64_MAX;  // of the sleeps; the waits are measured
    constexpr int64_t kHoldNs = 50 * kUs, kFairNs = kMs, kRounds = 20;
    const int64_t greedy = g_program.between(1, 6);
    // Who is woken and not given the lock waits for a turn on a processor, too.
    const int64_t cpus = std::min(g_config.cpus, g_config.processors);
    const int64_t turns = (greedy + cpus) / cpus;
    const int64_t bound = kFairNs + (greedy + 1) * 2 * kHoldNs + turns * 26 * kMs;
    Mutex mutex;
    bool is_over = false;
    Group group(greedy + 1);
    for (int64_t i = 0; i < greedy; i++)
        go([&] {
            while (!is_over) {
                mutex.lock();
                burn(kHoldNs);
                mutex.unlock();
            }
            group.done();
        });
    go([&, bound] {
        for (int64_t k = 0; k < kRounds; k++) {
            sleep_for(g_program.skewed(200 * kUs));
            const int64_t start = now();
            mutex.lock();
            measured(now() - start, bound, "a lock was waited for");
            mutex.unlock();
        }
        is_over = true;
        group.done();
    });
    group.wait();
}

}  // namespace pfiber::sim
