// Simulated programs that change the number of processors while another one runs.
#include <string.h>

#include "scheduler/world.h"
#include "tests/sim/workload.h"
#include "tests/sim/workloads.h"

namespace pfiber::sim {

namespace {

constexpr int64_t kUs = 1000, kMs = 1000000;

bool is_over;
int64_t resizers_left;

void resize_now_and_then(void (*rest)(int64_t ns)) {
    while (!is_over) {
        const auto wanted = static_cast<int>(g_program.between(1, g_config.processors));
        if (g_program.one_in(8)) {
            set_default_processor_count();  // the monitor may follow at any time from now on
        } else {
            const int former = set_processor_count(wanted);
            if (former < 1 || former > g_config.processors) fail("C2: there were %d", former);
        }
        if (g_program.one_in(2)) rest(1 + g_program.skewed(200 * kUs));
        if (g_program.one_in(4)) rest(g_program.between(200 * kUs, 5 * kMs));
    }
    resizers_left--;
}

}  // namespace

// Storms of stops beside any other program; its own checks hold, and whoever was on a processor
// that went (queued, timed, at a descriptor, in a call, computing, bound) is not lost.
void resizing() {
    static const char* const kNotThese[] = {
        "idle",        "mass_spawn",     "fairness",         "returns",          "convoy",
        "pair",        "starved_global", "ready_io",         "crowded_io",       "spilled",
        "late_timers", "unfair_mutex",   "long_rest",        "many_sockets",     "grown",
        "rules",       "crowd",          "uncovered_timers", "attended_pollers", "quiet_server",
        "resizing"};
    const Workload* beside = nullptr;
    while (beside == nullptr) {
        beside = &kWorkloads[g_program.below(kWorkloadCount - kAloneCount)];
        for (const char* name : kNotThese)
            if (beside != nullptr && strcmp(beside->name, name) == 0) beside = nullptr;
    }
    record(Event::kNote, 0, 0, beside->name);
    g_lateness_bound_ns += 200 * kMs;  // at times on one processor
    if (strcmp(beside->name, "hogs") == 0) g_lateness_bound_ns += 1000 * kMs;
    g_default_processors = static_cast<int>(g_program.between(1, g_config.processors));
    resizers_left = g_program.between(1, 2);
    const bool is_foreign = g_program.one_in(3);
    const int64_t count = resizers_left;
    for (int64_t i = 0; i < count; i++) {
        if (i == 0 && is_foreign)
            start_foreign([] { resize_now_and_then(nap); });
        else
            go([] { resize_now_and_then(sleep_for); });
    }
    beside->main();
    is_over = true;
    while (resizers_left > 0) sleep_for(kMs);
    // The monitor's turn: it follows within two of its rounds a second apart.
    if (!g_program.one_in(8)) return;
    set_default_processor_count();
    g_default_processors = static_cast<int>(g_program.between(1, g_config.processors));
    const int64_t start = now();
    while (processor_count() != g_default_processors) {
        burn(100 * kUs);
        sleep_for(kMs);
        if (now() - start > 3000 * kMs) fail("the monitor does not follow the default");
    }
}

// The number grows while everybody rests, one of them in the pollers as they were; then there is
// something to wait for at the new ones.
void grown() {
    const int more = g_config.processors + 3;
    const int64_t fibers = 2 * more;
    Semaphore tokens;
    Group group(fibers);
    for (int64_t i = 0; i < fibers; i++)
        go([&] {
            tokens.take();
            burn(20 * kUs);
            const int fd = g_kernel.open_socket(FileKind::kSocket);
            File* file = g_kernel.file(fd);
            g_machine.at(g_machine.now_ns() + 1 + g_program.below(kMs),
                         [file] { g_kernel.peer_sends(file, 1); });
            if (socket_receive(fd) != 1) fail("receive failed");
            group.done();
        });
    start_foreign([&tokens, fibers, more] {
        nap(5 * kMs);
        set_processor_count(more);
        for (int64_t i = 0; i < fibers; i++) {
            if (g_program.one_in(4)) nap(1 + g_program.below(kMs));
            tokens.post();
        }
    });
    group.wait();
}

}  // namespace pfiber::sim
