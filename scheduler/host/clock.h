// Time for the runtime: monotonic nanoseconds and CPU time of a kernel thread.
//
// The vDSO is reached through libc's own clock_gettime, looked up once (host/libc.h): the exported
// name is a hook of ours.  Before the look-up has run, the system call serves.  Any context.
#pragma once

#include <cstdint>
#include <ctime>

#include "scheduler/host/syscall.h"

namespace pfiber::host {

using ClockGettime = int (*)(clockid_t, timespec*);
extern ClockGettime real_clock_gettime;  // null until resolve_libc()

inline int64_t clock_ns(clockid_t clock) {
    timespec now{};
    if (__builtin_expect(real_clock_gettime != nullptr, 1))
        real_clock_gettime(clock, &now);
    else
        raw_syscall(SYS_clock_gettime, clock, reinterpret_cast<long>(&now));
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

inline int64_t monotonic_ns() { return clock_ns(CLOCK_MONOTONIC); }

// CPU time of kernel thread `tid` of this process; -1 when it is gone.
inline int64_t thread_cpu_ns(int tid) {
    timespec now{};
    // The kernel's encoding of "CPU clock of thread tid" (man clock_getres, CPUCLOCK_PERTHREAD).
    const clockid_t clock = static_cast<clockid_t>((~static_cast<unsigned>(tid) << 3) | 6);
    long rc = raw_syscall(SYS_clock_gettime, clock, reinterpret_cast<long>(&now));
    return rc < 0 ? -1 : now.tv_sec * 1000000000LL + now.tv_nsec;
}

}  // namespace pfiber::host
