// Kernel calls without libc: no errno, no cancellation point, no symbol that the ledger exports.
//
// Everything below scheduler/ that talks to the kernel goes through raw_syscall(), so the runtime
// can never fall into its own hooks, nor into an entry point of libc that start-up has redirected.
// This file must not know what a fiber, a worker or a pthread is.
//
// Who may call: anybody, anywhere: on a fiber, on a worker, on a foreign thread, in a signal
// handler, in a vfork child.  Results: the kernel's value, or -errno (see is_error); errno is never
// touched.
#pragma once

#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>

namespace pfiber::host {

// True for the 4095 values by which the kernel reports an error; the error number is -result.
constexpr bool is_error(long result) { return static_cast<unsigned long>(result) >= -4095UL; }

// One argument of a kernel call: integers, enumerators and pointers all travel as a register.
template <typename T>
inline long syscall_argument(T value) {
    return (long)value;  // the C cast is the one form that takes pointers and integers alike
}
inline long syscall_argument(decltype(nullptr)) { return 0; }

inline long raw_syscall6(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

inline long raw_syscall(long number) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number) : "rcx", "r11", "memory");
    return result;
}
template <typename A>
inline long raw_syscall(long number, A a) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(syscall_argument(a))
                     : "rcx", "r11", "memory");
    return result;
}
template <typename A, typename B>
inline long raw_syscall(long number, A a, B b) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(syscall_argument(a)), "S"(syscall_argument(b))
                     : "rcx", "r11", "memory");
    return result;
}
template <typename A, typename B, typename C>
inline long raw_syscall(long number, A a, B b, C c) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(syscall_argument(a)), "S"(syscall_argument(b)),
                       "d"(syscall_argument(c))
                     : "rcx", "r11", "memory");
    return result;
}
// Four to six arguments: the rest is zero, which is what the kernel's optional ones mean.
template <typename A, typename B, typename C, typename D, typename E = long, typename F = long>
inline long raw_syscall(long number, A a, B b, C c, D d, E e = E(), F f = F()) {
    return raw_syscall6(number, syscall_argument(a), syscall_argument(b), syscall_argument(c),
                        syscall_argument(d), syscall_argument(e), syscall_argument(f));
}

#include "scheduler/host/named_syscalls.inc"

// Set-user-id and the like: then the environment belongs to somebody we must not trust.
inline bool process_is_secure() { return getauxval(AT_SECURE) != 0; }

}  // namespace pfiber::host
