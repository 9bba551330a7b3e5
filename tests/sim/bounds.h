// What the bounds of simulated programs are made of.
#pragma once

#include "scheduler/base/options.h"
#include "scheduler/scheduler.h"
#include "tests/sim/workload.h"

namespace pfiber::sim {

inline constexpr int64_t kUs = 1000, kMs = 1000000;

// What stands before a slice is over: 10 ms, the timer's tick; where the monitor sees to it, its
// longest sleep as well.
inline int64_t turn_ns() {
    const Preempt mode = options().preempt;
    const bool by_monitor = mode == Preempt::kTgkill || mode == Preempt::kOff || g_config.faults;
    return by_monitor ? 26 * kMs : 17 * kMs;
}

// How many of `fibers` that compute share one CPU.
inline int64_t per_cpu(int64_t fibers) {
    const int64_t cpus = g_config.cpus < g_config.processors ? g_config.cpus : g_config.processors;
    return (fibers + cpus - 1) / cpus;
}

// Computes until `is_over`, in pieces of `piece_ns`; `between` is what it does after each.
template <class Between>
void keep_busy(const bool& is_over, int64_t piece_ns, Between between) {
    while (!is_over) {
        burn(piece_ns);
        between();
    }
}

}  // namespace pfiber::sim
