// Calls that may or will block in the kernel: the regions around them, and their whole bodies.
//
// MAYBE calls keep their processor until the monitor takes it, or hand it off first when they are
// predicted to last (scheduler/prediction.h); BLOCKING ones always hand it off first.  All of them
// are plain system calls when calling_fiber() is null.
#pragma once

#include <errno.h>

#include "scheduler/host/identity.h"
#include "scheduler/host/signal.h"
#include "scheduler/host/syscall.h"
#include "scheduler/prediction.h"
#include "scheduler/runtime.h"
#include "shim/interrupt.h"

namespace pfiber::interpose {

// The fiber to serve in user space; null: this call is the kernel's business alone (before the
// start, foreign threads, a signal handler that runs on top of a system call).
inline Fiber* calling_fiber() {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr || fiber->depth != 0 || fiber->in_call) return nullptr;
    return fiber;
}

// The kernel's answer in libc's form.
inline long result(long answer) {
    if (__builtin_expect(!host::is_error(answer), 1)) return answer;
    errno = static_cast<int>(-answer);
    return -1;
}

// Whether SA_RESTART resumes the call (signal(7)).
enum class Restart : bool { kNo, kYes };
enum class Region : bool { kMaybe, kHandOff };

// -errno or the result; handles interruption and cancellation.  Six arguments.
long region_call(Fiber* fiber, Region region, Restart restart, long number, const long* arguments);
// The same, MAYBE or handed off first as `call` predicts.
long predicted_region_call(Fiber* fiber, PredictedCall call, Restart restart, long number,
                           const long* arguments);

// The same with the arguments one by one; no cancellation point at the entry.
template <class... A>
long region_call_of(Fiber* fiber, Region region, Restart restart, long number, A... a) {
    static_assert(sizeof...(A) <= 6);
    const long arguments[6] = {host::syscall_argument(a)...};
    return region_call(fiber, region, restart, number, arguments);
}
template <class... A>
long maybe_call(Fiber* fiber, Restart restart, long number, A... a) {
    return region_call_of(fiber, Region::kMaybe, restart, number, a...);
}
template <class... A>
long blocking_call(Fiber* fiber, Restart restart, long number, A... a) {
    return region_call_of(fiber, Region::kHandOff, restart, number, a...);
}

// BLOCKING, not resumed by SA_RESTART, until `deadline_ns` at most: argument `timeout_at` becomes
// what is left of it at each try.
long timed_region_call(Fiber* fiber, int64_t deadline_ns, int timeout_at, long number,
                       const long* arguments);
template <class... A>
long timed_blocking_call(Fiber* fiber, int64_t deadline_ns, int timeout_at, long number, A... a) {
    static_assert(sizeof...(A) <= 6);
    const long arguments[6] = {host::syscall_argument(a)...};
    return timed_region_call(fiber, deadline_ns, timeout_at, number, arguments);
}

template <class... A>
long predicted_call(Fiber* fiber, PredictedCall call, Restart restart, long number, A... a) {
    static_assert(sizeof...(A) <= 6);
    const long arguments[6] = {host::syscall_argument(a)...};
    return predicted_region_call(fiber, call, restart, number, arguments);
}

// A call that lasts as long as a disk does and that no signal ends; no cancellation point.
template <class... A>
long disk_call(Fiber* fiber, PredictedCall call, long number, A... a) {
    enter_predicted_call(fiber, &call);
    const long answer = host::raw_syscall(number, a...);
    exit_predicted_call(fiber, &call);
    return answer;
}

// ---- keys of the prediction

// Calls on paths: the place in the program that called the hook.  (Inside libc it is one place for
// everybody, which is no worse than the call's number alone.)
#define CALL_SITE reinterpret_cast<uintptr_t>(__builtin_return_address(0))
// Calls on descriptors: what kind of file on which device, as far as that is known already.
inline uint32_t file_key(long number, int fd) {
    const Descriptor* descriptor = descriptor_if_known(fd);
    if (descriptor == nullptr) return call_key(number, 0);
    const auto kind = static_cast<uint64_t>(descriptor->kind.load(std::memory_order_relaxed));
    return call_key(number, kind << 8 | descriptor->device);
}
// A read of `size` bytes at `offset` (-1: the file's own position).  Where the history says that it
// may last, the page cache is asked first: what it holds is read in place, the rest after a
// hand-off.
PredictedCall predict_read(long number, int fd, off64_t offset, size_t size);

// ---- whole bodies

// A thread that libc makes for itself (SIGEV_THREAD, getaddrinfo_a): no fiber, no child that
// borrows a fiber's memory, not the process's first thread.
inline uintptr_t g_first_thread_pointer = 0;  // before the load: nobody is asked for
inline bool may_be_libc_thread() {
    return t_owner == nullptr && g_first_thread_pointer != 0 &&
           host::thread_pointer() != g_first_thread_pointer;
}
// The call as libc's own function makes it: cancellation is asynchronous meanwhile.  Six arguments.
long libc_thread_call(long number, const long* arguments);

// A cancellation point where the caller is no fiber.
template <class... A>
long plain_call(long number, A... a) {
    if (__builtin_expect(!may_be_libc_thread(), 1)) return host::raw_syscall(number, a...);
    static_assert(sizeof...(A) <= 6);
    const long arguments[6] = {host::syscall_argument(a)...};
    return libc_thread_call(number, arguments);
}

// MAYBE: libc's own function, whose calls in its inside are plain ones meanwhile; no cancellation
// point.  `call` is real(…)(…) of a row that is not redirected.
template <class Call>
auto in_region(Call&& call) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return call();
    enter_call(fiber);
    const auto answer = call();
    exit_call(fiber);
    return answer;
}
// BLOCKING.
template <class Call>
auto in_handed_off_region(Call&& call) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return call();
    enter_blocking_call(fiber);
    const auto answer = call();
    exit_call(fiber);
    return answer;
}

// MAYBE, no cancellation point.
template <class... A>
[[gnu::always_inline]] inline long short_call(long number, A... a) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(host::raw_syscall(number, a...));
    return result(disk_call(fiber, PredictedCall(call_key(number, CALL_SITE)), number, a...));
}
template <class... A>
long fd_call(long number, int fd, A... a) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(host::raw_syscall(number, fd, a...));
    return result(disk_call(fiber, PredictedCall(file_key(number, fd)), number, fd, a...));
}
// MAYBE, cancellation point, restartable.
template <class... A>
[[gnu::always_inline]] inline long cancellable_call(long number, A... a) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(plain_call(number, a...));
    shim::cancellation_point(fiber);
    const PredictedCall call(call_key(number, CALL_SITE));
    return result(predicted_call(fiber, call, Restart::kYes, number, a...));
}
template <class... A>
long cancellable_fd_call(long number, int fd, A... a) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(plain_call(number, fd, a...));
    shim::cancellation_point(fiber);
    const PredictedCall call(file_key(number, fd));
    return result(predicted_call(fiber, call, Restart::kYes, number, fd, a...));
}
template <class... A>
long long_call(Restart restart, long number, A... a) {  // BLOCKING, cancellation point
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(plain_call(number, a...));
    shim::cancellation_point(fiber);
    return result(blocking_call(fiber, restart, number, a...));
}

}  // namespace pfiber::interpose
