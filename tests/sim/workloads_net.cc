// A simulated server with many connections on many processors: what a poller for each processor
// saves against one for all (Go issue 65064).  With --verbose it prints counts per message.
#include <stdio.h>

#include <memory>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "tests/sim/workload.h"
#include "tests/sim/workloads.h"

namespace pfiber::sim {

namespace {

constexpr int64_t kUs = 1000;

struct Counts {
    int64_t polls = COUNT_VALUE(polls), empty = COUNT_VALUE(polls_empty);
    int64_t refused = COUNT_VALUE(polls_refused), wakeups = COUNT_VALUE(wakeups);
    int64_t steals = COUNT_VALUE(steals), ns = g_machine.now_ns();
};

void print(const Counts& before, int64_t messages) {
    const Counts after;
    const auto per = [messages](int64_t count) {
        return static_cast<double>(count) / static_cast<double>(messages);
    };
    fprintf(stderr,
            "counts per message, %s: polls %.3f, empty %.3f, found another inside %.3f, workers "
            "woken %.3f, stolen %.3f; %lld messages in %lld us\n",
            options().pollers == Pollers::kGlobal ? "global" : "processor",
            per(after.polls - before.polls), per(after.empty - before.empty),
            per(after.refused - before.refused), per(after.wakeups - before.wakeups),
            per(after.steals - before.steals), static_cast<long long>(messages),
            static_cast<long long>((after.ns - before.ns) / kUs));
}

}  // namespace

// Each connection's peer answers a few microseconds after each message.
void many_sockets() {
    g_machine.calm();
    const int64_t connections = 4 * g_config.processors, rounds = 16;
    const int64_t work = g_program.one_in(2) ? 2 * kUs : 20 * kUs;
    Group group(connections);
    Gate start;
    for (int64_t i = 0; i < connections; i++) {
        const int fd = g_kernel.open_socket(FileKind::kSocket);
        File* file = g_kernel.file(fd);
        file->on_sent = [](File* sender) {
            g_machine.at(g_machine.now_ns() + 1 + g_program.below(40 * kUs), [sender] {
                g_kernel.peer_reads(sender, 1);
                g_kernel.peer_sends(sender, 1);
            });
        };
        go([&, fd, work] {
            start.wait();
            for (int64_t k = 0; k < rounds; k++) {
                if (socket_send(fd) != 1) fail("send failed");
                if (socket_receive(fd) != 1) fail("B1: a message is lost");
                burn(work / 2 + g_program.below(work));
            }
            group.done();
        });
    }
    sleep_for(1000 * kUs);  // all wait
    const Counts before;
    start.open();
    group.wait();
    if (g_config.verbose) print(before, connections * rounds);
    // A second look at an instance would be the kernel's contention; here it is counted instead.
    if (COUNT_VALUE(polls) > before.polls + 8 * connections * rounds)
        fail("many_sockets: %lld looks for %lld messages",
             static_cast<long long>(COUNT_VALUE(polls) - before.polls),
             static_cast<long long>(connections * rounds));
}

}  // namespace pfiber::sim
