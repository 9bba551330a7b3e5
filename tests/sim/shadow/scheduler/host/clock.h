// Simulator's stand-in for scheduler/host/clock.h: virtual time.
#pragma once

#include <cstdint>
#include <ctime>

#include "scheduler/host/syscall.h"

namespace pfiber::host {

int64_t clock_ns(clockid_t clock);
int64_t monotonic_ns();
int64_t thread_cpu_ns(int tid);

}  // namespace pfiber::host
