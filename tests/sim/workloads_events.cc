// The same for events and timers: messages and sleeps among fibers that keep every queue full.
#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/scheduler.h"
#include "tests/sim/bounds.h"
#include "tests/sim/workload.h"
#include "tests/sim/workloads.h"

namespace pfiber::sim {

namespace {

// What those do who keep every queue full while messages arrive, and how long one of them waits.
struct Crowd {
    int64_t piece_ns;
    void (*between)();
    int64_t bound_ns;
};

Crowd draw_crowd(int64_t size) {
    constexpr int64_t kPieceNs = 20 * kUs;
    const int64_t cpus = per_cpu(g_config.processors);
    const int64_t kernel = cpus == 1 ? 0 : cpus * 8 * kMs;  // its slices
    constexpr int64_t kWakeNs = 120 * kUs;                  // of kernel threads, and their rests
    switch (g_program.below(3)) {
        case 0:
            // They yield: a look at the first one after its time, of which the one before may have
            // been short, or at the 61st turn, which puts the reader behind the others.
            return {kPieceNs, let_others,
                    (kYieldLookNs + (3 + size) * kPieceNs) * cpus + kWakeNs + kernel};
        case 1:
            // Their turns end otherwise: a look every 61st turn, then everybody else's.
            return {kPieceNs, end_turn, (62 + size) * kPieceNs * cpus + 2 * kMs * cpus + kernel};
        default: {
            // They compute: a look when the first one's slice is over, and nobody else's.  Where
            // the monitor or the kernel decides how long that is, or a neighbour helps (W6),
            // somebody else may have looked first and queued the reader.
            const bool is_exact = turn_ns() < 20 * kMs && g_config.processors == 1;
            const int64_t slices = is_exact ? 1 : (size + 2) * cpus;
            return {500 * kUs, [] {}, slices * turn_ns() + kMs + kernel};
        }
    }
}

}  // namespace

// Messages arrive while others keep every queue full (Go issues 51651 and 56060).
void ready_io() {
    g_machine.calm();
    constexpr int kMessages = 20;
    const int64_t others = 2 * g_config.processors + g_program.below(8);
    const Crowd crowd = draw_crowd(others);
    bool is_over = false;
    Group group(others + 1);
    const int fd = g_kernel.open_socket(FileKind::kSocket);
    File* file = g_kernel.file(fd);
    static int64_t sent_ns;
    go([&, fd] {
        for (int k = 0; k < kMessages; k++) {
            const int64_t at = now() + 2 * kMs + g_program.skewed(2 * kMs);
            g_machine.at(at, [file] {
                sent_ns = g_machine.now_ns();
                g_kernel.peer_sends(file, 1);
            });
            if (socket_receive(fd) != 1) fail("receive failed");
            measured(now() - sent_ns, crowd.bound_ns, "a message waited while others are busy");
        }
        is_over = true;
        group.done();
    });
    for (int64_t i = 0; i < others; i++)
        go([&] {
            keep_busy(is_over, crowd.piece_ns, crowd.between);
            group.done();
        });
    group.wait();
}

namespace {

bool somebody_waits_for_io() {
    for (int i = 0; i < g_scheduler.processor_count; i++)
        if (g_scheduler.processors[i]->poller.waiters.peek() > 0) return true;
    return false;
}

// When nobody waits for a message any more, it was looked at, whoever runs before its fiber.
int messages_received;
void watch_looks(int message, int64_t sent_ns, int64_t bound_ns) {
    if (messages_received > message) return;
    if (!g_config.faults)  // what epoll refused is asked for at intervals of its own
        measured(g_machine.now_ns() - sent_ns, bound_ns, "a message was not looked at in a crowd");
    if (!somebody_waits_for_io()) return;
    g_machine.at(g_machine.now_ns() + 50 * kUs, [=] { watch_looks(message, sent_ns, bound_ns); });
}

}  // namespace

// The same with more that yield than the rings hold, which spill all the time: a look at the
// pollers waits for those that were spilled before the former one, not for all.
void crowded_io() {
    g_machine.calm();
    constexpr int64_t kPieceNs = 2 * kUs;
    const int messages = g_config.faults ? 1 : 10;
    const int64_t rings = g_config.processors < 4 ? g_config.processors : 4;
    const int64_t yielders = 500 * rings + g_program.below(200);
    const int64_t cpus = per_cpu(g_config.processors);
    const int64_t kernel = cpus == 1 ? 0 : cpus * 8 * kMs;  // its slices
    // In the rings a turn comes twice as often as for those that were spilled, and costs as much
    // again in the runtime.
    const int64_t bound = 4 * (62 + yielders / rings) * kPieceNs * cpus + kMs + kernel;
    bool is_over = false;
    Group group(yielders + 1);
    for (int64_t i = 0; i < yielders; i++)
        go([&] {
            keep_busy(is_over, kPieceNs, let_others);
            group.done();
        });
    const int fd = g_kernel.open_socket(FileKind::kSocket);
    File* file = g_kernel.file(fd);
    go([&, bound, fd] {
        for (int k = 0; k < messages; k++) {
            g_machine.at(now() + kMs + g_program.skewed(2 * kMs), [=] {
                g_kernel.peer_sends(file, 1);
                watch_looks(k, g_machine.now_ns(), bound);
            });
            if (socket_receive(fd) != 1) fail("receive failed");
            messages_received++;
        }
        is_over = true;
        group.done();
    });
    group.wait();
}

// Sleeps among fibers that enter a hook every 20 us: at most 100 us late.  Among computations that
// enter none: the slices of those that wait for the same processor, and a millisecond.
void late_timers() {
    g_machine.calm();
    g_lateness_bound_ns = INT64_MAX;  // what waits is measured
    const bool cooperate = g_program.one_in(2);
    const int64_t busy = g_config.processors + g_program.below(2 * g_config.processors + 1);
    // On fewer CPUs than processors the kernel decides.
    const bool is_prompt = cooperate && g_config.cpus > g_config.processors;
    const int64_t bound = is_prompt ? 100 * kUs : (per_cpu(busy + 1) + 1) * turn_ns() + kMs;
    bool is_over = false;
    Group group(busy + 1);
    for (int64_t i = 0; i < busy; i++)
        go([&, cooperate, i] {
            keep_busy(is_over, cooperate ? 20 * kUs : 500 * kUs, [&] {
                if (cooperate) i % 2 == 0 ? some_call() : let_others();
            });
            group.done();
        });
    go([&, bound] {
        for (int k = 0; k < 30; k++) {
            const int64_t deadline = now() + kMs + g_program.skewed(2 * kMs);
            sleep_for(deadline - now());
            measured(now() - deadline, bound, "a timer was late");
        }
        is_over = true;
        group.done();
    });
    group.wait();
}

// Sleeps while some processors are in calls that last and fibers that enter a hook every 20 us, or
// computations, run on the others, so that none is idle: nobody but the monitor sees who is due.
void timers_beside_calls() {
    g_machine.calm();
    g_lateness_bound_ns = INT64_MAX;  // what waits is measured
    const int64_t callers = g_program.between(1, g_config.processors);
    const int64_t busy = g_config.processors - callers + g_program.below(2);
    const bool cooperate = g_program.one_in(2);
    const int64_t longest = g_program.one_in(2) ? 12 * kMs : 300 * kUs;
    // The processor gives way when it is asked to, or is taken from a call 100 us later; and the
    // wake-ups.  Computations keep theirs for a slice, and who returns from a call gets his turn.
    const bool is_prompt = cooperate && g_config.cpus > g_config.processors;
    const int64_t bound =
        is_prompt ? 200 * kUs : (per_cpu(callers + busy + 1) + 1) * turn_ns() + kMs;
    bool is_over = false;
    Group group(callers + busy + 1);
    for (int64_t i = 0; i < callers; i++)
        go([&, longest] {
            while (!is_over) {
                short_call(g_program.skewed(longest));
                burn(g_program.below(20 * kUs));
            }
            group.done();
        });
    for (int64_t i = 0; i < busy; i++)
        go([&, cooperate] {
            keep_busy(is_over, cooperate ? 20 * kUs : 500 * kUs, [cooperate] {
                if (cooperate) some_call();
            });
            group.done();
        });
    go([&, bound] {
        for (int k = 0; k < 30; k++) {
            const int64_t deadline = now() + kMs + g_program.skewed(2 * kMs);
            sleep_for(deadline - now());
            measured(now() - deadline, bound, "a timer was late beside calls");
        }
        is_over = true;
        group.done();
    });
    group.wait();
}

// One fiber sleeps, perhaps on a processor that is in a long call meanwhile; whoever slept in the
// pollers until that deadline is woken by an event and computes, so that nobody sleeps there any
// more.  Where the last who left them were gone for as long, the timer is seen to at once; else at
// the tick that finds the computation going on.
void uncovered_timers() {
    g_machine.calm();
    g_lateness_bound_ns = INT64_MAX;  // what waits is measured
    const int fd = g_kernel.open_socket(FileKind::kSocket);
    File* file = g_kernel.file(fd);
    for (int round = 0; round < 20; round++) {
        const bool with_call = g_program.one_in(2), cooperates = g_program.one_in(2);
        const int64_t sleeps = 2 * kMs + g_program.skewed(4 * kMs);
        const int64_t deadline = now() + sleeps;
        bool is_over = false, is_expected = false;
        Group group(with_call ? 3 : 2);
        go([&, fd] {
            if (socket_receive(fd) != 1) fail("receive failed");
            keep_busy(is_over, 20 * kUs, [cooperates] {
                if (cooperates) some_call();
            });
            group.done();
        });
        go([&] {
            sleep_for(deadline - now());
            // With a processor to run on; one in a call is taken when the monitor looks next.
            const int needed = with_call ? 3 : 2;
            const bool is_prompt =
                g_config.cpus > g_config.processors && g_config.processors >= needed;
            // Who enters no hook is given 100 us, then the monitor does it; and the wake-ups.
            const int64_t prompt = cooperates ? 100 * kUs : 200 * kUs;
            const int64_t bound = is_prompt && is_expected
                                      ? prompt
                                      : 2 * turn_ns() * per_cpu(g_config.processors) + kMs;
            measured(now() - deadline, bound, "a timer was late that nobody slept for");
            is_over = true;
            group.done();
        });
        if (with_call)
            go([&] {
                short_call(12 * kMs);
                group.done();
            });
        const int64_t at = deadline - g_program.below(kMs);
        g_machine.at(at, [&, file, at, deadline] {
            is_expected = deadline - at < g_scheduler.absence_ns.peek();
            g_kernel.peer_sends(file, 1);
        });
        group.wait();
        sleep_for(g_program.skewed(20 * kMs));
    }
}

// Messages for one who computes for milliseconds and for one who answers at once: while there is an
// idle processor somebody sleeps in the pollers, and the second does not wait for the first.
void attended_pollers() {
    g_machine.calm();
    constexpr int kRounds = 20;
    const bool is_free = g_config.processors > 1 && g_config.cpus > g_config.processors;
    const int64_t computes = 2 * kMs + g_program.skewed(8 * kMs);
    const int slow = g_kernel.open_socket(FileKind::kSocket);
    const int prompt = g_kernel.open_socket(FileKind::kSocket);
    File* files[] = {g_kernel.file(slow), g_kernel.file(prompt)};
    static int64_t sent_ns;
    Group group(2);
    go([&, slow] {
        for (int k = 0; k < kRounds; k++) {
            if (socket_receive(slow) != 1) fail("receive failed");
            burn(computes);
        }
        group.done();
    });
    go([&, prompt] {
        for (int k = 0; k < kRounds; k++) {
            const int64_t at = now() + kMs + computes + g_program.skewed(kMs);
            g_machine.at(at, [=] { g_kernel.peer_sends(files[0], 1); });
            g_machine.at(at + 200 * kUs + g_program.skewed(computes / 2), [=] {
                sent_ns = g_machine.now_ns();
                g_kernel.peer_sends(files[1], 1);
            });
            if (socket_receive(prompt) != 1) fail("receive failed");
            const int64_t bound =
                is_free ? 200 * kUs : computes + 2 * turn_ns() * per_cpu(g_config.processors);
            measured(now() - sent_ns, bound, "a message waited beside an idle processor");
            sleep_for(computes);
        }
        group.done();
    });
    group.wait();
}

// Short answers and short sleeps, far apart: the kernel thread that sleeps in the pollers serves
// both, and wakes neither another one nor, for most of them, the monitor.
void quiet_server() {
    g_machine.calm();
    constexpr int kWarm = 40, kCounted = 100;
    const int fd = g_kernel.open_socket(FileKind::kSocket);
    File* file = g_kernel.file(fd);
    bool is_over = false;
    Group group(2);
    go([&, fd] {
        int64_t woken = 0;
        uint32_t rung = 0;
        for (int k = 0; k < kWarm + kCounted; k++) {
            if (k == kWarm) {
                woken = COUNT_VALUE(wakeups);
                rung = g_scheduler.monitor_word.peek();
            }
            g_machine.at(now() + kMs + g_program.skewed(2 * kMs),
                         [file] { g_kernel.peer_sends(file, 1); });
            if (socket_receive(fd) != 1) fail("receive failed");
            burn(5 * kUs);
        }
        woken = COUNT_VALUE(wakeups) - woken;
        rung = g_scheduler.monitor_word.peek() - rung;
        if (woken > kCounted / 4 || rung > kCounted / 2)
            fail("a quiet server woke %lld workers, and the monitor %u times, for %d messages",
                 static_cast<long long>(woken), rung, kCounted);
        is_over = true;
        group.done();
    });
    go([&] {
        while (!is_over) sleep_for(kMs + g_program.skewed(kMs));
        group.done();
    });
    group.wait();
}

}  // namespace pfiber::sim
