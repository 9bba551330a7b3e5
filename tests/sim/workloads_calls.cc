// Simulated programs about calls that block: who gets which processor afterwards, and what the
// prediction makes of long and short ones.
#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/prediction.h"
#include "scheduler/scheduler.h"
#include "tests/sim/workload.h"

namespace pfiber::sim {

namespace {

constexpr int64_t kUs = 1000, kMs = 1000000;

int processor_of(Fiber* fiber) {
    RuntimeSection section(fiber);
    return fiber->worker->processor->id;
}

// Nobody else wants a processor: a call's fiber returns to its own, mostly (a spinner may be
// looking around with it at that very moment).
void return_to_old() {
    constexpr int kCalls = 60;
    int same = 0;
    for (int i = 0; i < kCalls; i++) {
        const int before = processor_of(self());
        blocking_call(g_program.between(200 * kUs, 400 * kUs));
        if (processor_of(self()) == before) same++;
    }
    if (same < kCalls / 2) fail("only %d of %d calls returned to their processor", same, kCalls);
}

// Its own is computing for others, another one is idle: it does not wait for the first.
void return_to_idle() {
    if (g_config.processors < 3 || g_config.cpus < 4) return;
    constexpr int64_t kHogNs = 40 * kMs;
    const int64_t start = now();
    Group group(2);
    go([&group, start] {
        for (int i = 0; i < 5; i++) {
            const int64_t called = now();
            blocking_call(500 * kUs);
            const int64_t late = now() - called - 500 * kUs;
            if (late > 5 * kMs && now() - start < kHogNs && !refuses_every_thread())
                fail("a call returned %lld us late beside idle processors",
                     (long long)(late / kUs));
        }
        group.done();
    });
    go([&group] {
        burn(kHogNs);
        group.done();
    });
    group.wait();
}

// Every processor computes: it queues, and runs when a slice ends.
void return_to_queue() {
    const int64_t hogs = 2 * g_config.processors;
    Group group(hogs + 1);
    for (int64_t i = 0; i < hogs; i++)
        go([&group] {
            burn(25 * kMs);
            group.done();
        });
    int64_t worst = 0;
    go([&group, &worst] {
        for (int i = 0; i < 3; i++) {
            const int64_t called = now();
            blocking_call(kMs);
            if (now() - called > worst) worst = now() - called;
        }
        group.done();
    });
    group.wait();
    const int64_t bound = (60 + 50 * hogs / g_config.cpus) * kMs;  // everybody's CPU time and more
    if (worst > bound && !refuses_every_thread())
        fail("a call's fiber waited %lld ms", (long long)(worst / kMs));
}

void predicted_call(uint32_t key, int64_t ns) {
    Fiber* fiber = self();
    PredictedCall call(key);
    enter_predicted_call(fiber, &call);
    if (ns > 0) nap(ns);
    exit_predicted_call(fiber, &call);
    check_program(fiber);
}

}  // namespace

void returns() {
    return_to_old();
    return_to_idle();
    return_to_queue();
}

// Ten thousand calls block at once, each on a worker of its own: there is no cap that a call could
// wait for.  Those that nobody needs any more end after their time.
void many_workers() {
    g_machine.calm();
    g_config.steps *= 3;  // each worker's begin and end takes some hundred
    constexpr int64_t kCalls = 10000, kLongNs = 3000 * kMs;
    const int64_t start = now();
    Group group(kCalls);
    for (int64_t i = 0; i < kCalls; i++)
        go([&group, start] {
            blocking_call(start + kLongNs - now());
            group.done();
        });
    g_machine.at(start + kLongNs - kMs, [] {
        const int32_t workers = g_scheduler.worker_count.load();
        if (workers < kCalls && !g_config.faults)
            fail("%d workers for %lld calls", workers, static_cast<long long>(kCalls));
    });
    group.wait();
    sleep_for((2 * options().spare_ms + 100) * kMs);
    const int32_t left = g_scheduler.worker_count.load();
    if (left > 2 * g_config.processors + 2 && !g_config.faults)
        fail("%d workers are left with nothing to do", left);
}

// Long calls from one place, short ones from another, both from a third.
void predicted() {
    forget_calls();
    constexpr uint32_t kLong = call_key(1, 1), kShort = call_key(2, 2), kMixed = call_key(3, 3);
    const int64_t fibers = g_program.between(2, 2 * g_config.processors + 2);
    constexpr int kRounds = 30;
    Group group(fibers);
    const int64_t before = COUNT_VALUE(handoffs_in_vain);
    for (int64_t i = 0; i < fibers; i++)
        go([&group] {
            for (int k = 0; k < kRounds; k++) {
                predicted_call(kLong, g_program.between(100 * kUs, 300 * kUs));
                for (int n = 0; n < 4; n++) predicted_call(kShort, 0);
                predicted_call(kMixed, g_program.one_in(4) ? 200 * kUs : 0);
                if (g_program.one_in(4)) let_others();
                burn(g_program.skewed(30 * kUs));
            }
            group.done();
        });
    group.wait();
    // Of six calls in a round.  Stalls of the machine make some short ones long.
    const int64_t in_vain = COUNT_VALUE(handoffs_in_vain) - before;
    if (in_vain > 5 + fibers * kRounds / 2)
        fail("%lld hand-offs in vain in %lld calls", (long long)in_vain,
             (long long)(6 * fibers * kRounds));
}

}  // namespace pfiber::sim
