// syscall(): private futexes of language runtimes and libraries are served by the wait queues, so
// that a waiting thread costs no kernel thread; everything else goes to the kernel as given.
//
// Threads that are no fiber, and inline futex instructions (libgomp), wait in the kernel: a wake
// that finds too few waiters here wakes there too.
#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "interpose/raw_calls.h"
#include "interpose/hooks.h"
#include "scheduler/host/libc.h"
#include "scheduler/host/signal.h"
#include "scheduler/wait_queue.h"
#include "shim/abi.h"
#include "shim/deadline.h"
#include "shim/interrupt.h"
#include "shim/self.h"

using namespace pfiber;
using namespace pfiber::shim;

namespace {

struct FutexCall {
    uint32_t* word;
    int operation;
    uint32_t value;
    long timeout;  // or the second count
    uint32_t* word2;
    uint32_t value3;
};

long in_kernel(const FutexCall& call) {
    return host::raw_syscall6(SYS_futex, reinterpret_cast<long>(call.word), call.operation,
                              static_cast<long>(call.value), call.timeout,
                              reinterpret_cast<long>(call.word2), static_cast<long>(call.value3));
}

// A wait in the kernel, on a fiber: its worker waits with it.
long wait_in_kernel(Fiber* fiber, const FutexCall& call) {
    const long arguments[6] = {reinterpret_cast<long>(call.word),  call.operation,
                               static_cast<long>(call.value),      call.timeout,
                               reinterpret_cast<long>(call.word2), static_cast<long>(call.value3)};
    enter_blocking_call(fiber);
    const long result = host::pfiber_blocking_syscall(
        &fiber->attention, kAttendSignal | kAttendCancel, SYS_futex, arguments);
    exit_call(fiber);
    return result;
}

Word* atomic(uint32_t* word) { return reinterpret_cast<Word*>(word); }

bool is_unchanged(const void* word, void* expected) {
    return static_cast<const Word*>(word)->load(std::memory_order_seq_cst) ==
           *static_cast<const uint32_t*>(expected);
}

long wait_here(Fiber* fiber, const FutexCall& call, bool has_bits) {
    const auto* time = reinterpret_cast<const timespec*>(call.timeout);
    Deadline deadline;
    if (time != nullptr) {
        if (time->tv_sec < 0 || time->tv_nsec < 0 || time->tv_nsec >= 1000000000) return -EINVAL;
        const clockid_t clock =
            (call.operation & FUTEX_CLOCK_REALTIME) != 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
        deadline = has_bits ? Deadline(clock, *time) : Deadline::after(*time);
    }
    if (has_bits && call.value3 == 0) return -EINVAL;
    uint32_t expected = call.value;
    WaitRequest request;
    request.address = call.word;
    request.validate = is_unchanged;
    request.argument = &expected;
    request.bits = has_bits ? call.value3 : kAnyBits;
    request.reason = WaitReason::kFutex;
    const InterruptMark mark = interrupt_mark(fiber);
    for (;;) {
        request.deadline_ns = deadline.monotonic_ns();
        WaitResult result;
        {
            RuntimeSection section(fiber);
            result = wait_on_address(request);
        }
        if (!result.validated) return -EAGAIN;
        if (result.outcome == Wake::kReady) return 0;
        if (result.outcome == Wake::kTimeout) {
            if (deadline.has_passed()) return -ETIMEDOUT;
            continue;
        }
        if (interrupted_since(fiber, mark, deadline.is_never())) return -EINTR;
    }
}

long wake_both(uint32_t* word, uint32_t count, uint32_t bits) {
    const int wanted = static_cast<int>(count);
    const int woken = wanted > 0 ? wake_address(word, wanted, bits) : 0;
    if (wanted > 0 && woken >= wanted) return woken;
    const long others =
        host::raw_syscall6(SYS_futex, reinterpret_cast<long>(word), FUTEX_WAKE_BITSET_PRIVATE,
                           wanted - woken, 0, 0, static_cast<long>(bits));
    return woken > 0 && host::is_error(others) ? woken : woken + others;
}

long requeue(const FutexCall& call, bool compare) {
    const int wake_count = static_cast<int>(call.value);
    const int move_count = static_cast<int>(call.timeout);
    if (wake_count < 0 || move_count < 0) return -EINVAL;
    uint32_t expected = call.value3;
    int moved = 0;
    const int woken = requeue_address(call.word, wake_count, call.word2, move_count,
                                      compare ? is_unchanged : nullptr, &expected, &moved);
    if (woken < 0) return -EAGAIN;
    if (woken == wake_count && moved == move_count) return woken + moved;
    FutexCall rest = call;
    rest.value = static_cast<uint32_t>(wake_count - woken);
    rest.timeout = move_count - moved;
    const long others = in_kernel(rest);
    return woken + moved > 0 && host::is_error(others) ? woken + moved : woken + moved + others;
}

// FUTEX_WAKE_OP's second word: what is done to it, and the test of its old value.
uint32_t apply(Word* word, uint32_t code) {
    uint32_t argument = (code >> 12) & 0xfff;
    if ((argument & 0x800) != 0) argument |= 0xfffff000;
    if ((code >> 28 & FUTEX_OP_OPARG_SHIFT) != 0) argument = 1u << (argument & 31);
    switch (code >> 28 & 7) {
        case FUTEX_OP_SET:
            return word->exchange(argument);
        case FUTEX_OP_ADD:
            return word->fetch_add(argument);
        case FUTEX_OP_OR:
            return word->fetch_or(argument);
        case FUTEX_OP_ANDN:
            return word->fetch_and(~argument);
        default:
            return word->fetch_xor(argument);
    }
}

bool compares(uint32_t code, uint32_t old_value) {
    auto argument = static_cast<int32_t>(code << 20) >> 20;
    const auto old = static_cast<int32_t>(old_value);
    switch (code >> 24 & 15) {
        case FUTEX_OP_CMP_EQ:
            return old == argument;
        case FUTEX_OP_CMP_NE:
            return old != argument;
        case FUTEX_OP_CMP_LT:
            return old < argument;
        case FUTEX_OP_CMP_LE:
            return old <= argument;
        case FUTEX_OP_CMP_GT:
            return old > argument;
        default:
            return old >= argument;
    }
}

bool has_known_codes(uint32_t code) {
    return (code >> 28 & 7) <= FUTEX_OP_XOR && (code >> 24 & 15) <= FUTEX_OP_CMP_GE;
}

bool is_wait(int command) {
    return command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET || command == FUTEX_LOCK_PI ||
           command == FUTEX_LOCK_PI2 || command == FUTEX_WAIT_REQUEUE_PI;
}

bool is_word(const uint32_t* word) {
    return reinterpret_cast<uintptr_t>(word) % 4 == 0 && reinterpret_cast<uintptr_t>(word) >= 4096;
}

long futex(Fiber* fiber, const FutexCall& call) {
    const int command = call.operation & FUTEX_CMD_MASK;
    const bool is_private = (call.operation & FUTEX_PRIVATE_FLAG) != 0;
    const bool is_ours = is_private && is_word(call.word) && !host::is_in_loader_data(call.word);
    if (is_wait(command)) {
        const bool has_bits = command == FUTEX_WAIT_BITSET;
        if (fiber == nullptr) return in_kernel(call);
        if (is_ours && (has_bits || command == FUTEX_WAIT)) return wait_here(fiber, call, has_bits);
        return wait_in_kernel(fiber, call);
    }
    if (!is_ours) return in_kernel(call);
    switch (command) {
        case FUTEX_WAKE:
            return wake_both(call.word, call.value, kAnyBits);
        case FUTEX_WAKE_BITSET:
            return call.value3 == 0 ? -EINVAL : wake_both(call.word, call.value, call.value3);
        case FUTEX_REQUEUE:
        case FUTEX_CMP_REQUEUE:
            if (!is_word(call.word2)) return in_kernel(call);
            return requeue(call, command == FUTEX_CMP_REQUEUE);
        case FUTEX_WAKE_OP: {
            if (!is_word(call.word2) || !has_known_codes(call.value3)) return in_kernel(call);
            const uint32_t old_value = apply(atomic(call.word2), call.value3);
            long woken = wake_both(call.word, call.value, kAnyBits);
            if (compares(call.value3, old_value))
                woken += wake_both(call.word2, static_cast<uint32_t>(call.timeout), kAnyBits);
            return woken;
        }
        default:
            return in_kernel(call);
    }
}

long maybe_call(Fiber* fiber, long number, const long* a) {
    if (fiber == nullptr || fiber->in_call)
        return host::raw_syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    enter_call(fiber);
    const long result = host::raw_syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    exit_call(fiber);
    return result;
}

long dispatch(long number, const long* a) {
    Fiber* fiber = current_fiber();
    switch (number) {
        case SYS_futex:
            return futex(fiber, {reinterpret_cast<uint32_t*>(a[0]), static_cast<int>(a[1]),
                                 static_cast<uint32_t>(a[2]), a[3],
                                 reinterpret_cast<uint32_t*>(a[4]), static_cast<uint32_t>(a[5])});
        case SYS_gettid:
            return fiber != nullptr ? static_cast<long>(fiber->tid) : host::raw_gettid();
        case SYS_clone:
        case SYS_clone3:
        case SYS_fork:
            return interpose::raw_fork_call(fiber, number, a);
        case SYS_exit:
            // The kernel thread is not the caller's; the last thread takes the process with it.
            if (fiber == nullptr) break;
            if (live_fibers() <= 1) host::raw_syscall(SYS_exit_group, a[0]);
            pf_pthread_exit(nullptr);  // does not return
            break;
        // Never blocking, or not returning here as it was called.
        case SYS_getpid:
        case SYS_vfork:
        case SYS_exit_group:
        case SYS_membarrier:
        case SYS_getrandom:
            break;
        default: {
            long answer = 0;
            if (interpose::serve_thread_call(number, a, &answer)) return answer;
            if (interpose::serve_raw_call(number, a, &answer)) return answer;
            return maybe_call(fiber, number, a);
        }
    }
    return host::raw_syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

}  // namespace

extern "C" long pf_syscall(long number, ...) {
    va_list list;
    va_start(list, number);
    long arguments[6];
    for (long& argument : arguments) argument = va_arg(list, long);
    va_end(list);
    // Numbers whose library function has a body of its own; read, write and the like may join them.
    switch (number) {
        case SYS_tgkill:
            return pf_tgkill(static_cast<pid_t>(arguments[0]), static_cast<pid_t>(arguments[1]),
                             static_cast<int>(arguments[2]));
        case SYS_sched_yield:
            return pf_sched_yield();
        default:
            break;
    }
    const long result = dispatch(number, arguments);
    if (__builtin_expect(!host::is_error(result), 1)) return result;
    errno = static_cast<int>(-result);
    return -1;
}
