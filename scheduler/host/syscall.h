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

// Sleeps while *word == expected.  `relative` is on the monotonic clock; nullptr waits for ever.
// 0 = woken (perhaps for nothing), -EAGAIN = value differed, -EINTR, -ETIMEDOUT.
inline long raw_futex_wait(const volatile uint32_t* word, uint32_t expected,
                           const struct timespec* relative, bool is_private = true) {
    int operation = FUTEX_WAIT | (is_private ? FUTEX_PRIVATE_FLAG : 0);
    return raw_syscall(SYS_futex, word, operation, static_cast<unsigned long>(expected), relative);
}

// Wakes up to `count` sleepers on the word and returns how many.  Touches the address only, so the
// word may already be unmapped (-EFAULT then).
inline long raw_futex_wake(const volatile uint32_t* word, int count, bool is_private = true) {
    return raw_syscall(SYS_futex, word, FUTEX_WAKE | (is_private ? FUTEX_PRIVATE_FLAG : 0), count);
}

// The kernel's thread id of the caller's worker: never a fiber's id.
inline int raw_gettid() { return static_cast<int>(raw_syscall(SYS_gettid)); }
inline int raw_getpid() { return static_cast<int>(raw_syscall(SYS_getpid)); }

inline long raw_read(int fd, void* data, size_t size) {
    return raw_syscall(SYS_read, fd, data, size);
}
inline long raw_write(int fd, const void* data, size_t size) {
    return raw_syscall(SYS_write, fd, data, size);
}
// -EINTR still means closed: do not repeat it.
inline long raw_close(int fd) { return raw_syscall(SYS_close, fd); }

// The address as a number; test it with is_error before making a pointer of it.
inline long raw_mmap(void* address, size_t size, int protection, int flags, int fd, long offset) {
    return raw_syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}
inline long raw_munmap(void* address, size_t size) {
    return raw_syscall(SYS_munmap, address, size);
}
inline long raw_madvise(void* address, size_t size, int advice) {
    return raw_syscall(SYS_madvise, address, size, advice);
}
inline long raw_mprotect(void* address, size_t size, int protection) {
    return raw_syscall(SYS_mprotect, address, size, protection);
}

inline long raw_tgkill(int process_id, int thread_id, int signal) {
    return raw_syscall(SYS_tgkill, process_id, thread_id, signal);
}

// The kernel's set is 8 bytes, bit (signal - 1).  `set` or `old` may be nullptr.  Acts on the
// worker.
inline long raw_sigprocmask(int how, const uint64_t* set, uint64_t* old) {
    return raw_syscall(SYS_rt_sigprocmask, how, set, old, sizeof(uint64_t));
}

// Set-user-id and the like: then the environment belongs to somebody we must not trust.
inline bool process_is_secure() { return getauxval(AT_SECURE) != 0; }

}  // namespace pfiber::host
