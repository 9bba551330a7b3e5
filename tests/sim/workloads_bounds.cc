// Simulated programs that starve somebody on a scheduler without the rule they are about, with a
// bound in virtual time.  The machine is calm, so the bounds are the scheduler's own: those
// of slices and of the looks at the global queue, the pollers and the timers.
#include <stdio.h>

#include <list>

#include "scheduler/base/options.h"
#include "scheduler/scheduler.h"
#include "tests/sim/bounds.h"
#include "tests/sim/workload.h"
#include "tests/sim/workloads.h"

namespace pfiber::sim {

// Short tasks arrive behind long computations: each waits for a slice of those before it, not for
// their whole length.
void convoy() {
    g_machine.calm();
    g_lateness_bound_ns = INT64_MAX;  // what waits is measured
    const int64_t hogs = g_program.between(1, 3 * g_config.processors), tasks = 10;
    // All of them may be in one queue while the others have enough to do.
    const int64_t bound = (hogs + 1) * turn_ns() * per_cpu(g_config.processors);
    Group group(hogs + tasks);
    for (int64_t i = 0; i < hogs; i++)
        go([&group] {
            burn(kMs * 1000);
            group.done();
        });
    for (int64_t i = 0; i < tasks; i++) {
        const int64_t start = now();
        go([&group, start, bound] {
            burn(20 * kUs);
            measured(now() - start, bound, "a short task waited behind long ones");
            group.done();
        });
    }
    group.wait();
}

// Two that wake each other run in the next slot, one after the other, among others that compute.
// They share one slice, so the others get theirs; and they are woken into the slot, so that they
// are not last in the queue at each turn.
void pair() {
    g_machine.calm();
    g_lateness_bound_ns = INT64_MAX;  // what waits is measured
    const int64_t others = g_program.between(1, 3 * g_config.processors);
    const int64_t bound = (per_cpu(others + 2) + 2) * turn_ns();
    bool is_over = false;
    Semaphore ping, pong;
    Group group(others + 2);
    for (int64_t i = 0; i < others; i++)
        go([&, bound] {
            int64_t last = now();
            keep_busy(is_over, 500 * kUs, [&] {
                measured(now() - last - 500 * kUs, bound, "a computation beside a pair waited");
                last = now();
            });
            group.done();
        });
    constexpr int kRounds = 4000;
    go([&, bound] {
        int64_t last = now();
        for (int k = 0; k < kRounds; k++) {
            ping.post();
            burn(10 * kUs);
            pong.take();
            measured(now() - last, 2 * bound, "a pair waited for its round");
            last = now();
        }
        is_over = true;
        group.done();
    });
    go([&] {
        for (int k = 0; k < kRounds; k++) {
            ping.take();
            burn(10 * kUs);
            pong.post();
        }
        group.done();
    });
    group.wait();
}

// Two that do nothing but wake each other are in the runtime when their slice ends.
void tight_pair() {
    const auto hand_over = [](Semaphore& semaphore) {
        RuntimeSection section(self());
        g_machine.compute(5 * kUs);
        semaphore.post();
    };
    g_machine.calm();
    g_lateness_bound_ns = INT64_MAX;  // what waits is measured
    const int64_t others = g_program.between(g_config.processors, 2 * g_config.processors);
    const int64_t bound = (per_cpu(others + 2) + 2) * turn_ns();
    constexpr int kTurns = 4;
    int64_t turns_left = kTurns * others;
    Semaphore ping, pong;
    Group group(others + 2);
    for (int64_t i = 0; i < others; i++)
        go([&, bound] {
            for (int turn = 0; turn < kTurns; turn++) {
                const int64_t begin = now();
                let_others();
                measured(now() - begin, bound, "a yielder beside a pair waited");
                turns_left--;
            }
            group.done();
        });
    bool is_over = false;
    go([&] {
        while (turns_left > 0) {
            hand_over(ping);
            pong.take();
        }
        is_over = true;
        ping.post();
        group.done();
    });
    go([&] {
        for (ping.take(); !is_over; ping.take()) hand_over(pong);
        group.done();
    });
    group.wait();
}

// Fibers that yield keep every local queue full; what foreign threads make goes to the global
// queue.
void starved_global() {
    g_machine.calm();
    constexpr int64_t kPieceNs = 20 * kUs, kArrivals = 20;
    const int64_t yielders = 2 * g_config.processors + g_program.below(8);
    // Every 61st turn takes one of them.
    const int64_t cpus = per_cpu(g_config.processors);
    const int64_t bound = 2 * 62 * kPieceNs * cpus + 2 * kMs * cpus;
    bool is_over = false;
    Group group(yielders + kArrivals);
    for (int64_t i = 0; i < yielders; i++)
        go([&] {
            keep_busy(is_over, kPieceNs, let_others);
            group.done();
        });
    start_foreign([&, bound] {
        for (int64_t i = 0; i < kArrivals; i++) {
            nap(3 * kMs + g_program.skewed(kMs));
            const int64_t start = g_machine.now_ns();
            go([&, start, bound, i] {
                measured(now() - start, bound, "the global queue waited behind local ones");
                if (i + 1 == kArrivals) is_over = true;
                group.done();
            });
        }
    });
    group.wait();
}

// More that yield than the rings hold: who was spilled into the global queue is not spilled again
// before its turn, so between two turns of one everybody else has two at most, counted over all
// processors, and those that lie in a ring half a ring's more.
void crowd() {
    g_machine.calm();
    g_lateness_bound_ns = INT64_MAX;  // what waits is measured
    const int64_t rings = g_config.processors < 4 ? g_config.processors : 4;
    const int64_t yielders = 500 * rings + g_program.below(200);
    const int64_t rounds = 12, bound = 2 * yielders + 128 * g_config.processors;
    // Else the kernel decides how often each processor has its turn.
    const bool is_measured = g_config.cpus > g_config.processors && !g_config.faults;
    int64_t turns = 0, longest = 0, satisfied = 0;
    Group group(yielders);
    Gate start;
    for (int64_t i = 0; i < yielders; i++)
        go([&] {
            start.wait();
            int64_t last = 0;
            for (int64_t k = 0; satisfied < yielders; k++) {
                if (k == rounds) satisfied++;
                if (k > 0) {
                    const int64_t waited = turns - last;
                    if (waited > longest) longest = waited;
                    if (is_measured && waited > bound)
                        fail("fairness: a yielder of %lld waited for %lld turns",
                             static_cast<long long>(yielders), static_cast<long long>(waited));
                }
                last = turns++;
                burn(2 * kUs);
                let_others();
            }
            group.done();
        });
    sleep_for(20 * kMs);  // all wait
    start.open();
    group.wait();
    if (g_config.verbose)
        fprintf(stderr, "yielders %lld, longest wait %lld turns, bound %lld\n",
                static_cast<long long>(yielders), static_cast<long long>(longest),
                static_cast<long long>(bound));
}

// After a long rest the monitor sleeps without limit; the first things that happen are
// computations, at times calls that last, too, and others wait behind them.
void long_rest() {
    g_machine.calm();
    g_lateness_bound_ns = INT64_MAX;                                  // of the rest
    const bool with_calls = g_program.one_in(2) && !g_config.faults;  // each needs a thread
    for (int round = 0; round < 2; round++) {
        sleep_for(300 * kMs + g_program.skewed(200 * kMs));
        const int64_t fibers = g_config.processors + 1;
        Group group(with_calls ? 2 * fibers : fibers);
        const int64_t start = now();
        const int64_t bound = (fibers + 3) * turn_ns() * per_cpu(g_config.processors);
        for (int64_t i = 0; i < fibers; i++) {
            if (with_calls)
                go([&group] {
                    short_call(400 * kMs);
                    group.done();
                });
            go([&group, start, bound] {
                measured(now() - start, bound, "a fiber waited for its first turn after a rest");
                burn(500 * kMs);
                group.done();
            });
        }
        group.wait();
    }
}

// A worker comes from a short fiber to the global queue just when two more are put there and the
// other workers come to rest: what it takes more than it runs at once has to be seen by them.
void surplus() {
    constexpr int64_t kLongNs = 2 * kMs;
    const int64_t rounds = g_program.between(40, 120), takers = 4;
    Semaphore tokens;
    std::list<int64_t> lengths;
    int64_t done = 0, posted = 0;
    Group group(takers);
    for (int64_t i = 0; i < takers; i++)
        go([&] {
            for (;;) {
                tokens.take();
                const int64_t length = lengths.front();
                lengths.pop_front();
                if (length < 0) break;
                burn(length);
                done++;
            }
            group.done();
        });
    const auto post = [&](int64_t length) {
        lengths.push_back(length);
        posted++;
        tokens.post();
    };
    start_foreign([&, rounds, post] {
        for (int64_t i = 0; i < rounds; i++) {
            post(g_program.below(8 * kUs));
            nap(1 + g_program.below(8 * kUs));
            const int64_t most = g_program.between(2, 3);
            for (int64_t k = 0; k < most; k++) post(kLongNs);
            while (done < posted) nap(200 * kUs);
        }
        for (int64_t i = 0; i < takers; i++) post(-1);
    });
    group.wait();
}

// More connections than a ring holds, and peers that answer at once: whoever did not fit into the
// ring has its turn before those that were served meanwhile and are ready again.
void spilled() {
    g_machine.calm();
    g_lateness_bound_ns = INT64_MAX;  // what waits is measured
    constexpr int64_t kTurnNs = 4 * kUs, kRounds = 30;
    const int64_t connections = 800;
    const int64_t cpus = per_cpu(g_config.processors);
    const int64_t kernel = cpus == 1 ? 0 : cpus * 8 * kMs;  // its slices
    // Everybody's turn, with what the runtime and the kernel add to it, and as much again for those
    // that were served meanwhile.
    const int64_t bound = 3 * connections * kTurnNs + kMs + kernel;
    Group group(connections);
    Gate start;
    int64_t start_ns = 0;
    for (int64_t i = 0; i < connections; i++) {
        const int fd = g_kernel.open_socket(FileKind::kSocket);
        File* file = g_kernel.file(fd);
        file->on_sent = [](File* sender) {
            g_machine.at(g_machine.now_ns() + 2 * kUs, [sender] {
                g_kernel.peer_reads(sender, 1);
                g_kernel.peer_sends(sender, 1);
            });
        };
        go([&, fd, bound] {
            start.wait();
            int64_t last = start_ns;
            for (int64_t k = 0; k < kRounds; k++) {
                if (socket_send(fd) != 1) fail("send failed");
                if (socket_receive(fd) != 1) fail("B1: a message is lost");
                // What epoll refused is asked for now and then, at intervals of its own.
                if (!g_config.faults)
                    measured(now() - last, bound, "a connection waited behind younger ones");
                last = now();
                burn(kTurnNs);
            }
            group.done();
        });
    }
    sleep_for(1000 * kUs);  // all wait
    start_ns = now();
    start.open();
    group.wait();
}

// A program's first connection is there before its helper thread began: with one processor
// the new fiber runs before its creator goes on, unless another one did within a millisecond.
void newcomer() {
    g_machine.calm();
    constexpr int kRounds = 30;
    const int64_t hogs = g_config.processors - 1;
    bool is_over = false;
    Group group(hogs + kRounds);
    for (int64_t i = 0; i < hogs; i++)
        go([&] {
            keep_busy(is_over, 500 * kUs, [] {});
            group.done();
        });
    for (int k = 0; k < kRounds; k++) {
        burn(2 * kMs);
        bool has_begun = false;
        go([&] {
            has_begun = true;
            group.done();
        });
        let_created_run(self());
        if (g_config.processors == 1 && !has_begun)
            fail("a new fiber waits for its creator's wait");
    }
    is_over = true;
    group.wait();
}

}  // namespace pfiber::sim
