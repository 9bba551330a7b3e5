// An absolute time on a clock of the program, as the synchronisation calls take it.
#pragma once

#include <ctime>

#include "scheduler/host/clock.h"
#include "scheduler/platform.h"

namespace pfiber::shim {

class Deadline {
  public:
    Deadline() = default;  // never
    Deadline(clockid_t clock, const timespec& time) : clock_(clock) {
        if (time.tv_sec < 0)
            target_ns_ = 0;
        else if (time.tv_sec < kFarSeconds)
            target_ns_ = time.tv_sec * kSecond + time.tv_nsec;
    }
    static Deadline after(const timespec& span) {
        Deadline deadline;
        if (span.tv_sec < kFarSeconds / 2) {
            deadline.target_ns_ = host::monotonic_ns() + span.tv_sec * kSecond + span.tv_nsec;
        }
        return deadline;
    }

    bool is_never() const { return target_ns_ == kNever; }
    bool has_passed() const { return !is_never() && host::clock_ns(clock_) >= target_ns_; }

    // For the runtime's timers.  The program's clock is read first, so that the error is on the
    // late side; a clock that is set meanwhile is looked at again when the wait ends (has_passed).
    int64_t monotonic_ns() const {
        if (is_never() || clock_ == CLOCK_MONOTONIC) return target_ns_;
        const int64_t left = target_ns_ - host::clock_ns(clock_);
        const int64_t now = host::monotonic_ns();
        return left > kNever - 1 - now ? kNever - 1 : now + left;
    }

  private:
    static constexpr int64_t kSecond = 1000000000;
    static constexpr int64_t kFarSeconds = kNever / kSecond;

    clockid_t clock_ = CLOCK_MONOTONIC;
    int64_t target_ns_ = kNever;
};

// What a timed call was given; the checks are libc's, at the places where libc makes them.
struct TimeLimit {
    clockid_t clock;
    const timespec* time;  // null: none

    bool has_valid_clock() const { return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC; }
    bool has_valid_time() const {
        return time == nullptr || (time->tv_nsec >= 0 && time->tv_nsec < 1000000000);
    }
    // The kernel, which waits for priority inheritance, refuses such times.
    bool is_before_epoch() const { return time != nullptr && time->tv_sec < 0; }
    Deadline deadline() const { return time == nullptr ? Deadline() : Deadline(clock, *time); }
};
constexpr TimeLimit kNoLimit{CLOCK_REALTIME, nullptr};

}  // namespace pfiber::shim
