// Deadlines: from a clock of the program to the runtime's monotonic nanoseconds.
#pragma once

#include <time.h>

#include <cstdint>

#include "scheduler/host/clock.h"
#include "scheduler/platform.h"

namespace pfiber::interpose {

// As the kernel wants it, but for the seconds' sign.
inline bool is_valid(const timespec* time) {
    return time->tv_nsec >= 0 && time->tv_nsec < 1000000000;
}

// Nanoseconds of a timespec, saturated below kNever.  Negative seconds count as the past.
inline int64_t nanoseconds(const timespec* time) {
    constexpr int64_t kMostSeconds = INT64_MAX / 1000000000 - 2;
    if (time->tv_sec < 0) return -1;
    if (time->tv_sec > kMostSeconds) return kMostSeconds * 1000000000;
    return time->tv_sec * 1000000000 + time->tv_nsec;
}

// now + relative, saturated: a wait of centuries is no wait in the past.
inline int64_t deadline_after(int64_t relative_ns) {
    const int64_t now = Platform::now_ns();
    return relative_ns > kNever - 1 - now ? kNever - 1 : now + relative_ns;
}

// An absolute time of `clock` as a monotonic deadline.  A step of the realtime clock meanwhile is
// seen by callers that look at the clock again when the deadline comes.
inline int64_t monotonic_deadline(clockid_t clock, const timespec* absolute) {
    const int64_t at = nanoseconds(absolute);
    if (clock == CLOCK_MONOTONIC) return at <= 0 ? 1 : at;
    const int64_t left = at - host::clock_ns(clock);
    return left <= 0 ? 1 : deadline_after(left);
}

}  // namespace pfiber::interpose
