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

inline long raw_futex_wait(const volatile uint32_t* word, uint32_t expected,
                           const struct timespec* relative, bool = true) {
    return raw_syscall(SYS_futex, word, FUTEX_WAIT, static_cast<unsigned long>(expected), relative);
}
inline long raw_futex_wake(const volatile uint32_t* word, int count, bool = true) {
    return raw_syscall(SYS_futex, word, FUTEX_WAKE, count);
}
inline int raw_gettid() { return static_cast<int>(raw_syscall(SYS_gettid)); }
inline int raw_getpid() { return static_cast<int>(raw_syscall(SYS_getpid)); }
inline long raw_read(int fd, void* data, size_t size) {
    return raw_syscall(SYS_read, fd, data, size);
}
inline long raw_write(int fd, const void* data, size_t size) {
    return raw_syscall(SYS_write, fd, data, size);
}
inline long raw_close(int fd) { return raw_syscall(SYS_close, fd); }
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
inline long raw_sigprocmask(int how, const uint64_t* set, uint64_t* old) {
    return raw_syscall(SYS_rt_sigprocmask, how, set, old, sizeof(uint64_t));
}

}  // namespace simulated

inline bool process_is_secure() { return getauxval(AT_SECURE) != 0; }

}  // namespace pfiber::host
