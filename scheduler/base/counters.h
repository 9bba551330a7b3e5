// The statistics of this process, generated from counters.def: what happened how often.
//
// Each count is independent of the others and orders nothing, hence relaxed throughout: a reader
// sees some recent value.  Rare events add to the one struct here.  Callers use the macros only, so
// that a hot count can move into the processors without a change at the place that counts. Must not
// know who counts or why.  Any thread, signal handlers included.
#pragma once

#include <stdint.h>
#include <atomic>

#include "scheduler/host/report.h"

namespace pfiber {

struct Counters {
#define PFIBER_COUNTER(name, meaning) std::atomic<int64_t> name{0};
#include "scheduler/base/counters.def"
#undef PFIBER_COUNTER
};

inline Counters g_counters;

// Raises a peak; loses no higher value to a race.
inline void counter_raise(std::atomic<int64_t>& counter, int64_t value) {
    int64_t seen = counter.load(std::memory_order_relaxed);
    while (seen < value && !counter.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
}

// Appends "pfiber: stats: fibers=3 fibers_peak=2 …".
inline void counters_line(host::Line& line) {
    line.add("pfiber: stats:");
#define PFIBER_COUNTER(name, meaning) \
    line.add(" %s=%lld", #name,       \
             static_cast<long long>(g_counters.name.load(std::memory_order_relaxed)));
#include "scheduler/base/counters.def"
#undef PFIBER_COUNTER
}

// Start of a fork child, before it has a second thread.
inline void counters_reset() {
#define PFIBER_COUNTER(name, meaning) g_counters.name.store(0, std::memory_order_relaxed);
#include "scheduler/base/counters.def"
#undef PFIBER_COUNTER
}

}  // namespace pfiber

#define COUNT(name) COUNT_ADD(name, 1)
#define COUNT_ADD(name, amount) \
    (void)::pfiber::g_counters.name.fetch_add((amount), std::memory_order_relaxed)
#define COUNT_PEAK(name, value) ::pfiber::counter_raise(::pfiber::g_counters.name, (value))
#define COUNT_VALUE(name) ::pfiber::g_counters.name.load(std::memory_order_relaxed)
