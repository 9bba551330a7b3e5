// Deadlines: from a clock of the program to the runtime's monotonic nanoseconds.
#pragma once

#include <time.h>

#include <cstdint>

#include "scheduler/platform.h"
#include "shim/deadline.h"

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

// An absolute time of `clock` as a monotonic deadline, never 0.  A step of the realtime clock
// meanwhile is seen by callers that look at the clock again when the deadline comes.
inline int64_t monotonic_deadline(clockid_t clock, const timespec* absolute) {
    const int64_t deadline_ns = shim::Deadline(clock, *absolute).monotonic_ns();
    return deadline_ns <= 0 ? 1 : deadline_ns;
}

inline timespec to_timespec(int64_t ns) {
    return ns <= 0 ? timespec{} : timespec{ns / 1000000000, ns % 1000000000};
}

// Deadline of a relative timeout: 0 asks without waiting, kNever waits for ever.
inline int64_t deadline_of_ms(int timeout) {
    if (timeout < 0) return kNever;
    return timeout == 0 ? 0 : deadline_after(timeout * int64_t{1000000});
}
inline int64_t deadline_of(const timespec* timeout) {  // valid or null
    if (timeout == nullptr) return kNever;
    const int64_t ns = nanoseconds(timeout);
    return ns <= 0 ? 0 : deadline_after(ns);
}
inline bool is_bad(const timespec* timeout) {
    return timeout != nullptr && (!is_valid(timeout) || timeout->tv_sec < 0);
}
// What is left of a deadline, for a region; null: no limit.
inline const timespec* time_left(int64_t deadline_ns, timespec* left) {
    if (deadline_ns == kNever) return nullptr;
    *left = to_timespec(deadline_ns - Platform::now_ns());
    return left;
}

}  // namespace pfiber::interpose
