// Sleeping: parked until a time.  A handler ends every sleep, SA_RESTART or not (signal(7)).
#include "interpose/hooks.h"
#include "interpose/io.h"
#include "scheduler/base/counters.h"

namespace pfiber::interpose {

namespace {

// Until `deadline_ns`; 0 or -EINTR.
long sleep_until(Fiber* fiber, int64_t deadline_ns) {
    const shim::InterruptMark mark = shim::interrupt_mark(fiber);
    for (;;) {
        RuntimeSection::enter(fiber);
        Wake outcome = Wake::kCancel;
        if (!shim::cancellation_is_due(fiber)) {
            fiber->park.arm();
            COUNT(parks_timer);
            outcome = park(fiber, WaitReason::kSleep, deadline_ns);
        }
        RuntimeSection::leave(fiber);
        if (outcome == Wake::kTimeout) return 0;
        shim::cancellation_point(fiber);
        if (shim::interrupted_since(fiber, mark, false)) return -EINTR;
        if (Platform::now_ns() >= deadline_ns) return 0;
    }
}

long sleep_relative(Fiber* fiber, const timespec* time, timespec* left) {
    if (!is_valid(time) || time->tv_sec < 0) return -EINVAL;
    const int64_t ns = nanoseconds(time);
    const int64_t deadline = deadline_after(ns);
    const long answer = sleep_until(fiber, deadline);
    if (answer != -EINTR || left == nullptr) return answer;
    if (!can_write(left, sizeof *left)) return -EFAULT;
    *left = to_timespec(deadline - Platform::now_ns());
    return answer;
}

// A clock that is set meanwhile is looked at again when the deadline comes.
long sleep_absolute(Fiber* fiber, clockid_t clock, const timespec* time) {
    if (!is_valid(time) || time->tv_sec < 0) return -EINVAL;
    const int64_t at = nanoseconds(time);
    while (host::clock_ns(clock) < at) {
        const long answer = sleep_until(fiber, monotonic_deadline(clock, time));
        if (answer != 0) return answer;
    }
    return 0;
}

bool is_parkable(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
           clock == CLOCK_TAI;
}

// 0 or -errno.
long sleep_on_clock(clockid_t clock, int flags, const timespec* time, timespec* left) {
    if (clock == CLOCK_THREAD_CPUTIME_ID) return -EINVAL;
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return plain_call(SYS_clock_nanosleep, clock, flags, time, left);
    shim::cancellation_point(fiber);
    if (!can_read(time)) return -EFAULT;
    if (!is_parkable(clock))
        return blocking_call(fiber, Restart::kNo, SYS_clock_nanosleep, clock, flags, time, left);
    if ((flags & TIMER_ABSTIME) != 0) return sleep_absolute(fiber, clock, time);
    return sleep_relative(fiber, time, left);
}

}  // namespace

}  // namespace pfiber::interpose

using namespace pfiber;
using namespace pfiber::interpose;

extern "C" {

int pf_clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left) {
    return static_cast<int>(-sleep_on_clock(clock, flags, time, left));
}

int pf_nanosleep(const timespec* time, timespec* left) {
    return static_cast<int>(result(sleep_on_clock(CLOCK_MONOTONIC, 0, time, left)));
}

int pf_usleep(useconds_t microseconds) {
    const timespec time{microseconds / 1000000, (microseconds % 1000000) * 1000};
    return pf_nanosleep(&time, nullptr);
}

unsigned pf_sleep(unsigned seconds) {
    timespec time{seconds, 0};
    if (pf_nanosleep(&time, &time) == 0) return 0;
    return static_cast<unsigned>(time.tv_sec);
}

int pf_thrd_sleep(const timespec* time, timespec* left) {
    const long answer = sleep_on_clock(CLOCK_REALTIME, 0, time, left);
    if (answer == 0) return 0;
    return answer == -EINTR ? -1 : -2;
}

}  // extern "C"
