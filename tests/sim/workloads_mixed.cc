// Simulated programs about interruptions, foreign threads, rest, and everything at once.
#include <memory>

#include "tests/sim/workload.h"
#include "tests/sim/workloads.h"

namespace pfiber::sim {

namespace {

constexpr int64_t kUs = 1000, kMs = 1000000;

struct Target {
    Fiber* fiber = nullptr;
    int64_t sent = 0, handled = 0;
    bool is_done = false;
};
std::vector<std::unique_ptr<Target>> targets;

Target* target_of(const Fiber* fiber) {
    for (auto& target : targets)
        if (target->fiber == fiber) return target.get();
    return nullptr;
}

void attend(Fiber* fiber, uint32_t attention) {
    if ((attention & kAttendSignal) == 0) return;
    Target* target = target_of(fiber);
    if (target != nullptr) target->handled = target->sent;
}

// A thread-directed signal: mark it, then end the wait that is open or interrupt the call (F4).
void interrupt(Target* target) {
    Fiber* fiber = target->fiber;
    OptionalSection section;
    target->sent++;
    fiber->attention.fetch_or(kAttendSignal);
    const uint32_t open = fiber->park.open_sequence();
    if (open != 0 && wake({fiber, open}, Wake::kSignal)) return;
    kick(fiber);
}

}  // namespace

// Each interruption is seen soon, whatever the fiber does.
void interrupts() {
    runtime_callbacks.attend = attend;
    const int64_t count = g_program.between(1, 8), rounds = g_program.between(5, 40);
    Group group(count);
    Gate never;
    for (int64_t i = 0; i < count; i++) {
        targets.push_back(std::make_unique<Target>());
        Target* target = targets.back().get();
        target->fiber = go([target, &never, &group] {
            while (!target->is_done) {
                switch (g_program.below(4)) {
                    case 0:
                        sleep_for(g_program.skewed(50 * kUs));
                        break;
                    case 1:
                        short_call(g_program.skewed(50 * kUs));
                        break;
                    case 2:
                        burn(g_program.skewed(20 * kUs));
                        break;
                    default:
                        never.wait();
                        break;
                }
            }
            target->fiber = nullptr;
            group.done();
        });
    }
    for (int64_t k = 0; k < rounds; k++) {
        Target* target = targets[static_cast<size_t>(g_program.below(count))].get();
        if (g_program.one_in(2)) sleep_for(g_program.skewed(60 * kUs));
        interrupt(target);
        const int64_t start = now();
        while (target->handled != target->sent) {
            sleep_for(20 * kUs);
            if (now() - start > 100 * kMs)
                fail("F4: an interruption of fiber %llu is not seen",
                     static_cast<unsigned long long>(target->fiber->id));
        }
    }
    for (auto& target : targets) target->is_done = true;
    while (group.left() > 0) {
        for (auto& target : targets)
            if (target->fiber != nullptr) interrupt(target.get());
        sleep_for(200 * kUs);
    }
}

// Threads that pfiber does not run wake and make fibers.
void foreign() {
    const int64_t threads = g_program.between(1, 4), items = g_program.between(5, 40);
    Semaphore semaphore;
    Group group(2 * threads * items);
    for (int64_t i = 0; i < threads; i++) {
        start_foreign([&, items] {
            for (int64_t k = 0; k < items; k++) {
                if (g_program.one_in(2)) nap(1 + g_program.skewed(200 * kUs));
                semaphore.post();
                if (g_program.one_in(2)) nap(1 + g_program.skewed(50 * kUs));
                go([&group] { group.done(); });
            }
        });
        go([&, items] {
            for (int64_t k = 0; k < items; k++) {
                semaphore.take();
                group.done();
            }
        });
    }
    group.wait();
}

// All wait: nobody wakes up until something happens.
void idle() {
    const int64_t fibers = g_program.between(1, 30);
    Group group(fibers);
    std::vector<File*> files;
    Gate gate;
    for (int64_t i = 0; i < fibers; i++) {
        const int fd = g_kernel.open_socket(FileKind::kSocket);
        files.push_back(g_kernel.file(fd));
        go([fd, &gate, &group] {
            if (fd % 3 == 0) {
                gate.wait(g_machine.now_ns() + 3000 * kMs);
            } else if (socket_receive(fd) != 1) {
                fail("receive failed");
            }
            group.done();
        });
    }
    const int64_t start = g_machine.now_ns();
    auto before = std::make_shared<int64_t>(0);
    g_machine.at(start + 1000 * kMs, [before] { *before = g_machine.sleeps_ended; });
    g_machine.at(start + 2000 * kMs, [before, files] {
        const int64_t woken = g_machine.sleeps_ended - *before;
        // Spare workers may end once; nothing else.
        const bool may_poll = g_config.faults;  // descriptors that epoll refused
        if (!may_poll && (woken > 2 * g_config.processors + 8 || woken > 200))
            fail("idle: %lld kernel sleeps ended in a second", static_cast<long long>(woken));
        for (File* file : files) g_kernel.peer_sends(file, 1);
    });
    group.wait();
}

// Everything at once.
void mix() {
    runtime_callbacks.attend = attend;
    g_lateness_bound_ns += 20 * kMs;  // a call that nobody sees keeps its processor for a while
    const int64_t fibers = g_program.between(4, 4 * g_config.processors + 20);
    const int64_t rounds = g_program.between(5, 30);
    Semaphore semaphore;
    Group group(fibers);
    for (int64_t i = 0; i < fibers; i++)
        go([&, rounds] {
            const int fd = g_kernel.open_socket(FileKind::kSocket);
            File* file = g_kernel.file(fd);
            bool is_locked = false;
            for (int64_t k = 0; k < rounds; k++) {
                switch (g_program.below(12)) {
                    case 0:
                        sleep_for(g_program.skewed(300 * kUs));
                        break;
                    case 1:
                        short_call(g_program.skewed(100 * kUs));
                        break;
                    case 2:
                        blocking_call(g_program.skewed(100 * kUs));
                        break;
                    case 3:
                        burn(g_program.skewed(100 * kUs));
                        break;
                    case 4:
                        let_others();
                        break;
                    case 5:
                        g_machine.at(now() + 1 + g_program.skewed(200 * kUs),
                                     [file] { g_kernel.peer_sends(file, 1); });
                        if (socket_receive(fd) != 1) fail("receive failed");
                        break;
                    case 6:
                        semaphore.post();
                        break;
                    case 7:
                        semaphore.take(now() + 1 + g_program.skewed(500 * kUs));
                        break;
                    case 8:
                        go([] { burn(g_program.skewed(10 * kUs)); });
                        break;
                    case 9:
                        socket_receive(fd, now() + 1 + g_program.skewed(100 * kUs));
                        break;
                    case 10:
                        if (g_program.one_in(8)) unseen_call(g_program.skewed(8 * kMs));
                        break;
                    default:
                        if (is_locked)
                            unlock_from_worker(self());
                        else if (g_program.one_in(4))
                            lock_to_worker(self());
                        else
                            break;
                        is_locked = !is_locked;
                }
            }
            socket_close(fd);
            group.done();
        });
    group.wait();
}

}  // namespace pfiber::sim
