// Go's rules one at a time, as far as they show: orders, shares and counts that a scheduler which
// breaks the rule gets wrong although every fiber runs in the end.  See scheduler/GO_RULES.md.
#include <stdio.h>

#include <algorithm>
#include <set>
#include <string>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "tests/sim/workload.h"
#include "tests/sim/workloads.h"

namespace pfiber::sim {

namespace {

constexpr int64_t kUs = 1000, kMs = 1000000;

void expect(bool is_so, const char* rule) {
    if (!is_so) fail("rule %s", rule);
}

// What ran, in order: each fiber adds its letter.
std::string order;

void go_and_note(char letter) {
    go([letter] { order += letter; });
}

void expect_order(const char* want, const char* rule) {
    if (order != want) fail("rule %s: order %s, expected %s", rule, order.c_str(), want);
    order.clear();
}

// A5: the one made last runs first, in the next slot; those before it in order of arrival.
void next_slot_first() {
    for (char letter = 'a'; letter <= 'e'; letter++) go_and_note(letter);
    sleep_for(kMs);
    expect_order("eabcd", "A5, the next slot");
}

// A9: own ring, then the global queue, then the poller.
void search_order() {
    const int fd = g_kernel.open_socket(FileKind::kSocket);
    File* file = g_kernel.file(fd);
    Group group(1);
    go([&] {
        if (socket_receive(fd) != 1) fail("receive failed");
        order += 'p';
        group.done();
    });
    sleep_for(kMs);  // it waits
    // Made by another kernel thread: through the global queue.
    start_foreign([] { go_and_note('g'); });
    g_machine.at(now() + 100 * kUs, [file] { g_kernel.peer_sends(file, 1); });
    burn(400 * kUs);
    go_and_note('l');
    group.wait();
    sleep_for(kMs);
    expect_order("lgp", "A9, where work is looked for");
}

// A14: what one look at the poller brings runs in the order in which it happened.
void batch_order() {
    constexpr int kSockets = 20;
    static File* files[kSockets];
    Group group(kSockets);
    for (int i = 0; i < kSockets; i++) {
        const int fd = g_kernel.open_socket(FileKind::kSocket);
        files[i] = g_kernel.file(fd);
        go([&group, fd, i] {
            if (socket_receive(fd) != 1) fail("receive failed");
            order += static_cast<char>('a' + i);
            group.done();
        });
    }
    sleep_for(kMs);  // all wait
    for (int i = 0; i < kSockets; i++)
        g_machine.at(now() + (100 + i) * kUs,
                     [i] { g_kernel.peer_sends(files[kSockets - 1 - i], 1); });
    burn(400 * kUs);
    group.wait();
    expect_order("tsrqponmlkjihgfedcba", "A14, ready fibers in order of arrival");
}

// A21: who is preempted waits behind what was made runnable meanwhile, also in the global queue.
void preempted_is_last() {
    Group group(2);
    go([&group] {
        burn(40 * kMs);
        order += 'h';
        group.done();
    });
    go([&group] {
        start_foreign([] { go_and_note('g'); });
        burn(kMs);
        go_and_note('l');
        order += 'f';
        group.done();
    });
    group.wait();
    sleep_for(kMs);
    expect_order("flgh", "A21, a preempted fiber goes to the tail of the global queue");
}

// A7: with n in the global queue a processor takes n / processors + 1, half a ring at most.
void fair_shares() {
    static Fiber dummies[400];
    for (Fiber& dummy : dummies) dummy.state.store(FiberState::kRunnable);
    Fiber* fiber = self();
    RuntimeSection section(fiber);
    Processor* mine = fiber->worker->processor;
    LockGuard guard(g_scheduler.lock);
    const auto taken_of = [mine](int32_t queued, int limit) {
        for (int32_t i = 0; i < queued; i++) g_scheduler.global.push_back(&dummies[i]);
        bool inherits = false;
        int32_t taken = global_take(mine, limit) == &dummies[0] ? 1 : 0;
        while (mine->queue.get(&inherits) != nullptr) taken++;
        int32_t left = g_scheduler.global.size.load();
        while (left > 0) left -= global_take(mine, 1) != nullptr ? 1 : 0;
        return taken;
    };
    const int32_t count = g_scheduler.processor_count;
    for (const int32_t queued : {1, 2, 5, 60, 400}) {
        const int32_t share = std::min({queued / count + 1, queued, 128});
        expect(taken_of(queued, 0) == share, "A7, a share of the global queue");
        expect(taken_of(queued, 1) == 1, "A8, one of the global queue");
    }
}

// A10: a thief takes half, rounded up.
void half_is_stolen() {
    static RunQueue<Platform, Fiber> queue;
    static Fiber dummies[256];
    Fiber* batch[128];
    for (uint32_t count = 1; count <= 256; count++) {
        for (uint32_t i = 0; i < count; i++)
            queue.put(&dummies[i], false, [](Fiber**, uint32_t) { fail("the ring overflows"); });
        expect(queue.grab(batch, false) == count - count / 2, "A10, half of the ring");
        bool inherits = false;
        for (uint32_t left = count / 2; left > 0; left--)
            expect(queue.get(&inherits) == &dummies[count - left], "A10, the older half");
        expect(queue.is_empty(), "A10, nothing is left");
    }
}

// A11: while the ring holds anything, the next slot is not taken, whichever round it is.
void next_slot_is_last() {
    static RunQueue<Platform, Fiber> queue;
    static Fiber dummies[3];
    Fiber* batch[128];
    const auto overflow = [](Fiber**, uint32_t) { fail("the ring overflows"); };
    queue.put(&dummies[0], false, overflow);
    queue.put(&dummies[1], true, overflow);
    expect(queue.grab(batch, true) == 1 && batch[0] == &dummies[0], "A11, the ring first");
    expect(queue.grab(batch, false) == 0, "A11, the next slot in the last round only");
    expect(queue.grab(batch, true) == 1 && batch[0] == &dummies[1], "A11, the next slot last");
    expect(queue.is_empty(), "A11, nothing is left");
}

// A11: two that wake each other run on one processor; who comes to steal leaves the next slot to it
// for a moment, in which nobody else is woken.
void pairs_wake_nobody() {
    constexpr int64_t kRounds = 2000;
    Semaphore ping, pong;
    Group group(1);
    sleep_for(kMs);
    const int64_t before = COUNT_VALUE(wakeups), start = now();
    go([&] {
        for (int64_t k = 0; k < kRounds; k++) {
            ping.take();
            pong.post();
        }
        group.done();
    });
    for (int64_t k = 0; k < kRounds; k++) {
        ping.post();
        pong.take();
    }
    group.wait();
    const int64_t wakeups = COUNT_VALUE(wakeups) - before;
    if (g_config.verbose)
        fprintf(stderr, "pair: %lld wake-ups in %lld us\n", (long long)wakeups,
                (long long)((now() - start) / 1000));
    // Each one woken rests for that long; what it finds at times makes it wake another one.
    expect(wakeups <= (now() - start) / kThiefRestNs * 3 / 2 + 20, "A11, a pair wakes nobody");
}

// A12: at most half of the busy processors look for work.  All run out of it one after the other,
// while one goes on, with a fiber in its next slot that makes each search last.
void half_of_them_spin() {
    const int64_t count = g_config.processors;
    bool is_over = false;
    int32_t most = 0;
    Group group(count);
    const int64_t until = now() + 3 * kMs;
    for (int64_t i = 0; i < count; i++)
        go([&, i] {
            burn(until + 100 * i - now());
            if (i == 0) go([] {});
            while (i == 0 && !is_over) burn(10 * kUs);
            group.done();
        });
    for (int64_t at = 0; at < 200; at++)
        g_machine.at(until + 50 * at, [&] {
            const int32_t now_spinning = g_scheduler.spinning.peek();
            if (now_spinning > most) most = now_spinning;
        });
    g_machine.at(until + 200 * kUs, [&] { is_over = true; });
    group.wait();
    // A few may look at the number at the same time; it is one less than all without the rule.
    expect(count < 16 || most <= 3 * count / 4, "A12, at most half of the busy processors spin");
    if (g_config.verbose) fprintf(stderr, "spinning at most: %d of %lld\n", most, (long long)count);
}

// A43: whoever makes fibers runnable takes no lock while no processor is idle: somebody else has
// it.
void no_lock_for_nobody() {
    constexpr int64_t kFibers = 50;
    Gate gate;
    Group group(kFibers);
    for (int64_t i = 0; i < kFibers; i++)
        go([&] {
            gate.wait();
            group.done();
        });
    sleep_for(kMs);  // all wait
    {
        RuntimeSection section(self());
        LockGuard guard(g_scheduler.lock);
        gate.open();
    }
    group.wait();
}

// A15: of many idle workers the one that rests for the shortest time is taken.
void last_in_first_out() {
    constexpr int64_t kCalls = 12;
    Group group(kCalls);
    for (int64_t i = 0; i < kCalls; i++)
        go([&group] {
            blocking_call(kMs);
            group.done();
        });
    group.wait();
    sleep_for(kMs);
    std::set<const Worker*> used;
    for (int i = 0; i < 30; i++) {
        Group one(1);
        go([&] {
            blocking_call(50 * kUs);
            used.insert(self()->worker);
            one.done();
        });
        one.wait();
        used.insert(self()->worker);
        sleep_for(300 * kUs);
    }
    expect(used.size() <= 5, "A15, idle workers: last in, first out");
}

// A18: a call keeps its processor while it is short, or nobody else wants that and others are idle;
// not when somebody waits, and not longer than a slice.  After a rest the monitor looks every 20
// us.
void retake_conditions() {
    const bool has_idle = g_scheduler.processor_count > 1;
    sleep_for(400 * kMs);
    int64_t retakes = COUNT_VALUE(retakes);
    for (int i = 0; i < 20; i++) {
        short_call(8 * kUs);
        burn(8 * kUs);
    }
    expect(COUNT_VALUE(retakes) == retakes, "A18, a short call keeps its processor");
    if (has_idle) {
        short_call(500 * kUs);
        expect(COUNT_VALUE(retakes) == retakes, "A18, nobody wants the processor");
        short_call(60 * kMs);
        expect(COUNT_VALUE(retakes) == retakes + 1, "A18, a slice is over");
    }
    if (has_idle) return;
    int64_t waited = 0;
    Group group(2);
    go([&] {
        const int64_t start = now();
        go([&, start] {
            waited = now() - start;
            group.done();
        });
        short_call(5 * kMs);
        group.done();
    });
    retakes = COUNT_VALUE(retakes);
    short_call(40 * kMs);
    group.wait();
    expect(COUNT_VALUE(retakes) == retakes + 2, "A18, taken twice");
    expect(waited < kMs, "A18, somebody waits");
}

// A18: who goes from one short call to the next, of which no look of the monitor sees the same one
// twice, has a slice like everybody else, by the wall clock.
void calls_end_a_slice() {
    int64_t waited = 0;
    const int64_t start = now();
    go([&] { waited = now() - start; });
    while (waited == 0 && now() - start < 200 * kMs) short_call(15 * kUs);
    expect(waited > 0, "A18, the slice of one that goes from call to call");
}

// A27: who gives the last running processor away leaves somebody in the pollers.
void hand_off_leaves_a_poller() {
    const int fd = g_kernel.open_socket(FileKind::kSocket);
    File* file = g_kernel.file(fd);
    int64_t received = 0;
    Group group(1);
    go([&] {
        if (socket_receive(fd) != 1) fail("receive failed");
        received = now();
        group.done();
    });
    sleep_for(30 * kMs);  // it waits, and the monitor rests between its looks
    const int64_t sent = now() + 2 * kMs;
    g_machine.at(sent, [file] { g_kernel.peer_sends(file, 1); });
    blocking_call(40 * kMs);
    group.wait();
    expect(received - sent < kMs, "A27, somebody polls");
}

// A26: who comes back finds its old processor in somebody else's call and takes it from there; the
// monitor, which rests for 10 ms at a time then, would do so later.
void old_processor_from_a_call() {
    constexpr int kRounds = 6;
    int64_t late = 0;
    for (int i = 0; i < kRounds; i++) {
        sleep_for(40 * kMs);
        burn(5 * kMs);
        Group group(1);
        go([&group] {
            short_call(3 * kMs);
            group.done();
        });
        const int64_t start = now();
        blocking_call(200 * kUs);
        late += now() - start - 200 * kUs;
        group.wait();
    }
    expect(late < kRounds * kMs / 2, "A26, the old processor out of a call");
}

// A26: who comes back from a call has its old processor again if that is idle, although another one
// was given up after it.
void old_processor_first() {
    for (int i = 0; i < 10; i++) {
        sleep_for(kMs);
        const int before = self()->last_processor;
        go([] { burn(500 * kUs); });
        burn(200 * kUs);  // it is stolen meanwhile
        blocking_call(kMs);
        expect(self()->worker->processor->id == before, "A26, back on the old processor");
    }
}

// A16: after a rest the monitor looks every 20 us, 50 times; then twice as long each time, up to
// 10 ms, also while somebody computes.
void monitor_pace() {
    sleep_for(400 * kMs);  // longer than it stays awake for
    const int64_t start = g_machine.sleeps_ended;
    burn(3 * kMs);
    const int64_t soon = g_machine.sleeps_ended;
    burn(997 * kMs);
    const int64_t later = g_machine.sleeps_ended;
    if (g_config.verbose)
        fprintf(stderr, "looks of the monitor: %lld in 3 ms, %lld in a second\n",
                (long long)(soon - start), (long long)(later - start));
    expect(soon - start >= 50, "A16, every 20 us at first");
    expect(later - soon <= 10 + 100 + 10, "A16, every 10 ms in the end");
}

// A17: the slice shrinks while others wait, to two fifths; what the timer's tick of 4 ms makes of
// that is two ticks instead of three.
void shrinking_slice() {
    if (options().preempt == Preempt::kTgkill) return;  // the monitor knows whole ones only
    constexpr int64_t kHogs = 8, kEach = 60 * kMs;
    const int64_t before = COUNT_VALUE(preemptions);
    Group group(kHogs);
    for (int64_t i = 0; i < kHogs; i++)
        go([&group] {
            burn(kEach);
            group.done();
        });
    group.wait();
    expect(COUNT_VALUE(preemptions) - before >= kHogs * kEach / (10 * kMs),
           "A17, a shorter slice while many wait");
}

// W7: whose calls never have to wait gives way after four of them.
void calls_in_turn() {
    constexpr int kCalls = 40;
    int turns = 0;
    bool is_over = false;
    Group group(1);
    go([&] {
        for (; !is_over; turns++) let_others();
        group.done();
    });
    for (int i = 0; i < kCalls; i++) {
        Fiber* fiber = self();
        RuntimeSection section(fiber);
        io_took_turn(fiber, 64);
    }
    is_over = true;
    group.wait();
    expect(turns >= kCalls / 4 - 1 && turns <= kCalls / 4 + 2, "W7, a turn is four calls");
}

// A34: a descriptor is registered where its fiber waits unless that has clearly more.
void placement_is_even() {
    constexpr int kSockets = 64;
    for (int i = 0; i < kSockets; i++)
        socket_receive(g_kernel.open_socket(FileKind::kSocket), now() + 5 * kUs);
    int32_t least = INT32_MAX, most = 0;
    for (int i = 0; i < g_scheduler.processor_count; i++) {
        const int32_t count = g_scheduler.processors[i]->poller.registered.load();
        least = std::min(least, count);
        most = std::max(most, count);
    }
    expect(most <= least + most / 8 + 5, "A34, an even placement");
}

// A35: after eight waits elsewhere a descriptor follows its fiber to an instance that has not
// clearly more.
void descriptors_follow() {
    constexpr int32_t kMany = 1000;
    for (int i = 0; i < 8; i++) {
        const int fd = g_kernel.open_socket(FileKind::kSocket);
        Poller* full = &self()->worker->processor->poller;
        full->registered.fetch_add(kMany);  // so that it is placed elsewhere,
        socket_receive(fd, now() + 5 * kUs);
        full->registered.fetch_sub(kMany);
        const Descriptor* descriptor = descriptor_if_known(fd);
        const int16_t first = descriptor->poller;
        full = &g_scheduler.processors[first - 1]->poller;
        full->registered.fetch_add(kMany);  // and wanted here
        int elsewhere = 0;
        for (int k = 0; k < 40 && elsewhere < 8; k++) {
            elsewhere = first == self()->worker->processor->id + 1 ? 0 : elsewhere + 1;
            socket_receive(fd, now() + 5 * kUs);
        }
        expect(elsewhere < 8 || descriptor->poller != first, "A35, descriptors follow");
        full->registered.fetch_sub(kMany);
    }
}

}  // namespace

void rules() {
    g_machine.calm();
    g_lateness_bound_ns = INT64_MAX;
    // The kernel decides, or there may be no thread.
    if (g_config.faults || g_config.cpus <= g_config.processors) return;
    fair_shares();
    half_is_stolen();
    next_slot_is_last();
    if (g_config.processors == 1) {
        next_slot_first();
        search_order();
        batch_order();
        preempted_is_last();
        no_lock_for_nobody();
        monitor_pace();
        shrinking_slice();
        calls_in_turn();
        calls_end_a_slice();
        hand_off_leaves_a_poller();
        old_processor_from_a_call();
    } else {
        old_processor_first();
        pairs_wake_nobody();
        half_of_them_spin();
        if (options().pollers == Pollers::kProcessor) {
            placement_is_even();
            descriptors_follow();
        }
    }
    last_in_first_out();
    retake_conditions();
}

}  // namespace pfiber::sim
