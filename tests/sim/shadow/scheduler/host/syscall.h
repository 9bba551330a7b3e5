// Simulator's stand-in for scheduler/host/syscall.h: every kernel call goes to the simulated
// kernel. The names stand in an inline namespace of their own, so that files compiled against the
// real header can be linked into the same program.
#pragma once

#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>

namespace pfiber::sim {
long simulated_syscall(long number, long a, long b, long c, long d, long e, long f);
}

namespace pfiber::host {
inline namespace simulated {

constexpr bool is_error(long result) { return static_cast<unsigned long>(result) >= -4095UL; }

template <typename T>
inline long syscall_argument(T value) {
    return (long)value;
}
inline long syscall_argument(decltype(nullptr)) { return 0; }

template <typename... A>
inline long raw_syscall(long number, A... arguments) {
    long list[6] = {syscall_argument(arguments)...};
    return sim::simulated_syscall(number, list[0], list[1], list[2], list[3], list[4], list[5]);
}
inline long raw_syscall(long number) { return sim::simulated_syscall(number, 0, 0, 0, 0, 0, 0); }

#include "scheduler/host/named_syscalls.inc"

}  // namespace simulated

inline bool process_is_secure() { return getauxval(AT_SECURE) != 0; }

}  // namespace pfiber::host
