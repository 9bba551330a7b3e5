// syscall(): private futexes of language runtimes and libraries are served by the wait queues, so
// that a waiting thread costs no kernel thread; everything else goes to the kernel as given.
//
// Threads that are no fiber, and inline futex instructions (libgomp), wait in the kernel: a wake
// that finds too few waiters here wakes there too.
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include <atomic>

#include "interpose/hooks.h"
#include "interpose/io.h"
#include "interpose/raw_calls.h"
#include "scheduler/host/libc.h"
#include "scheduler/host/signal.h"
#include "scheduler/prediction.h"
#include "scheduler/host/touch.h"
#include "scheduler/wait_queue.h"
#include "shim/abi.h"
#include "shim/deadline.h"
#include "shim/futex_pi.h"
#include "shim/interrupt.h"
#include "shim/mask.h"
#include "shim/self.h"
#include "shim/shared_owner.h"

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

// A wait in the kernel, on a fiber: its worker waits with it.  A relative time would begin anew
// after each interruption, so the caller has made it absolute.
long wait_in_kernel(Fiber* fiber, const FutexCall& call) {
    const long arguments[6] = {reinterpret_cast<long>(call.word),  call.operation,
                               static_cast<long>(call.value),      call.timeout,
                               reinterpret_cast<long>(call.word2), static_cast<long>(call.value3)};
    const NoCancel guard(fiber);
    const auto restart = call.timeout == 0 ? interpose::Restart::kYes : interpose::Restart::kNo;
    return interpose::region_call(fiber, interpose::Region::kHandOff, restart, SYS_futex,
                                  arguments);
}

const timespec* time_of(const FutexCall& call) {
    return reinterpret_cast<const timespec*>(call.timeout);
}

long wait_shared(Fiber* fiber, const FutexCall& call) {
    const timespec* time = time_of(call);
    const bool is_relative = (call.operation & FUTEX_CMD_MASK) == FUTEX_WAIT && time != nullptr;
    if (!is_relative || !host::can_read(time) || !interpose::is_valid(time) || time->tv_sec < 0)
        return wait_in_kernel(fiber, call);
    const int64_t deadline = interpose::deadline_after(interpose::nanoseconds(time));
    const timespec until = interpose::to_timespec(deadline);
    FutexCall absolute = call;
    absolute.operation += FUTEX_WAIT_BITSET - FUTEX_WAIT;
    absolute.value3 = FUTEX_BITSET_MATCH_ANY;
    absolute.timeout = reinterpret_cast<long>(&until);
    return wait_in_kernel(fiber, absolute);
}

Word* atomic(uint32_t* word) { return reinterpret_cast<Word*>(word); }

bool is_unchanged(const void* word, void* expected) {
    return static_cast<const Word*>(word)->load(std::memory_order_seq_cst) ==
           *static_cast<const uint32_t*>(expected);
}

// 0 or -errno.
long read_deadline(const FutexCall& call, bool is_absolute, clockid_t clock, Deadline* deadline) {
    const timespec* time = time_of(call);
    if (time == nullptr) return 0;
    if (!host::can_read(time)) return -EFAULT;
    if (time->tv_sec < 0 || !interpose::is_valid(time)) return -EINVAL;
    *deadline = is_absolute ? Deadline(clock, *time) : Deadline::after(*time);
    return 0;
}

clockid_t clock_of(const FutexCall& call) {
    return (call.operation & FUTEX_CLOCK_REALTIME) != 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
}

long wait_here(Fiber* fiber, const FutexCall& call, bool has_bits, const Deadline& deadline) {
    if (has_bits && call.value3 == 0) return -EINVAL;
    if (!host::can_read(call.word)) return -EFAULT;
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
    long others = 0;
    if (wanted <= 0 || woken < wanted)
        others =
            host::raw_syscall6(SYS_futex, reinterpret_cast<long>(word), FUTEX_WAKE_BITSET_PRIVATE,
                               wanted - woken, 0, 0, static_cast<long>(bits));
    if (woken > 0) let_woken_run(current_fiber());
    return woken > 0 && host::is_error(others) ? woken : woken + others;
}

long requeue(const FutexCall& call, bool compare) {
    const int wake_count = static_cast<int>(call.value);
    const int move_count = static_cast<int>(call.timeout);
    if (wake_count < 0 || move_count < 0) return -EINVAL;
    if (compare && !host::can_read(call.word)) return -EFAULT;
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

// The kernel alone knows the owners of a word that other processes may share.  When it gives the
// word to a fiber, the fiber stays the kernel thread that it is until it unlocks.
long lock_pi_in_kernel(Fiber* fiber, const FutexCall& call) {
    SharedOwner owner(fiber);
    long result;
    do result = wait_in_kernel(fiber, call);
    while (result == -EINTR);
    if (result == 0) owner.keep();
    return result;
}

long unlock_pi_in_kernel(Fiber* fiber, const FutexCall& call) {
    const long result = in_kernel(call);
    if (result == 0) shared_owner_end(fiber);
    // Who waited here before the kernel's owner came.
    wake_address(call.word, INT32_MAX);
    return result;
}

bool is_owned_through_kernel(Fiber* fiber, const FutexCall& call) {
    const uint32_t owner = atomic(call.word)->load(std::memory_order_relaxed) & Mutex::kTid;
    return fiber != nullptr && owner == static_cast<uint32_t>(worker_tid(fiber));
}

bool is_pi(int command) {
    return command == FUTEX_LOCK_PI || command == FUTEX_LOCK_PI2 || command == FUTEX_TRYLOCK_PI ||
           command == FUTEX_UNLOCK_PI;
}

long unlock_pi(Fiber* fiber, const FutexCall& call, bool is_private) {
    Word* word = atomic(call.word);
    if (!is_private && is_owned_through_kernel(fiber, call))
        return unlock_pi_in_kernel(fiber, call);
    return is_private || futex_owner_is_fiber(word) ? futex_unlock_pi(word) : in_kernel(call);
}

// Served here: words that are private, or that belong to one of our fibers.
long lock_pi(Fiber* fiber, const FutexCall& call, bool is_private) {
    const int command = call.operation & FUTEX_CMD_MASK;
    const bool tries = command == FUTEX_TRYLOCK_PI;
    Deadline deadline;
    if (!tries) {
        const clockid_t clock = command == FUTEX_LOCK_PI ? CLOCK_REALTIME : clock_of(call);
        const long refused = read_deadline(call, true, clock, &deadline);
        if (refused != 0) return refused;
    }
    Word* word = atomic(call.word);
    for (;;) {
        if (is_private || futex_owner_is_fiber(word))
            return tries ? futex_trylock_pi(word) : futex_lock_pi(word, deadline);
        const long result = fiber == nullptr ? in_kernel(call) : lock_pi_in_kernel(fiber, call);
        // A fiber took the word meanwhile: the kernel does not know that owner.
        if (result != -ESRCH || !futex_owner_exists(word)) return result;
    }
}

// The kernel's second half, locking word2, is the woken thread's own business here.
long wait_requeue_pi(Fiber* fiber, const FutexCall& call) {
    if (call.word == call.word2) return -EINVAL;
    Deadline deadline;
    const long refused = read_deadline(call, true, clock_of(call), &deadline);
    if (refused != 0) return refused;
    if (!host::can_write(call.word2, sizeof *call.word2)) return -EFAULT;
    long waited;
    do waited = wait_here(fiber, call, false, deadline);
    while (waited == -EINTR);
    return waited == 0 ? futex_lock_pi(atomic(call.word2), deadline) : waited;
}

long requeue_pi(const FutexCall& call) {
    if (call.value != 1 || call.word == call.word2) return -EINVAL;
    if (!host::can_read(call.word)) return -EFAULT;
    uint32_t expected = call.value3;
    if (!is_unchanged(call.word, &expected)) return -EAGAIN;
    const int others = static_cast<int>(call.timeout);
    if (others < 0) return -EINVAL;
    return wake_address(call.word, others == INT32_MAX ? others : others + 1);
}

bool knows_clock_flag(int command) {
    return command == FUTEX_WAIT_BITSET || command == FUTEX_WAIT_REQUEUE_PI ||
           command == FUTEX_LOCK_PI2;
}

bool is_word(const uint32_t* word) {
    return reinterpret_cast<uintptr_t>(word) % 4 == 0 && reinterpret_cast<uintptr_t>(word) >= 4096;
}

// A wait of a fiber.
long wait(Fiber* fiber, const FutexCall& call, bool is_ours) {
    if (!is_ours) return wait_shared(fiber, call);
    const bool has_bits = (call.operation & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
    Deadline deadline;
    const long refused = read_deadline(call, has_bits, clock_of(call), &deadline);
    return refused != 0 ? refused : wait_here(fiber, call, has_bits, deadline);
}

long wake_op(const FutexCall& call) {
    if (!is_word(call.word2) || !has_known_codes(call.value3)) return in_kernel(call);
    if (!host::can_write(call.word2, sizeof *call.word2)) return -EFAULT;
    const uint32_t old_value = apply(atomic(call.word2), call.value3);
    long woken = wake_both(call.word, call.value, kAnyBits);
    if (compares(call.value3, old_value))
        woken += wake_both(call.word2, static_cast<uint32_t>(call.timeout), kAnyBits);
    return woken;
}

long futex(Fiber* fiber, const FutexCall& call) {
    const int command = call.operation & FUTEX_CMD_MASK;
    const bool is_private = (call.operation & FUTEX_PRIVATE_FLAG) != 0;
    const bool has_clock_flag = (call.operation & FUTEX_CLOCK_REALTIME) != 0;
    if (has_clock_flag && !knows_clock_flag(command)) return in_kernel(call);  // ENOSYS
    const bool is_usable = is_word(call.word) && !host::is_in_loader_data(call.word);
    const bool is_ours = is_private && is_usable;
    if (is_pi(command) && is_usable && g_runtime_started) {
        if (!host::can_write(call.word, sizeof *call.word)) return -EFAULT;
        return command == FUTEX_UNLOCK_PI ? unlock_pi(fiber, call, is_private)
                                          : lock_pi(fiber, call, is_private);
    }
    switch (command) {
        case FUTEX_WAIT:
        case FUTEX_WAIT_BITSET:
            return fiber == nullptr ? in_kernel(call) : wait(fiber, call, is_ours);
        case FUTEX_WAIT_REQUEUE_PI:
            if (fiber == nullptr) return in_kernel(call);
            return is_ours && is_word(call.word2) ? wait_requeue_pi(fiber, call)
                                                  : wait_in_kernel(fiber, call);
        case FUTEX_CMP_REQUEUE_PI:
            return is_ours && g_runtime_started ? requeue_pi(call) : in_kernel(call);
        case FUTEX_WAKE:
            return is_ours ? wake_both(call.word, call.value, kAnyBits) : in_kernel(call);
        case FUTEX_WAKE_BITSET:
            if (!is_ours) return in_kernel(call);
            return call.value3 == 0 ? -EINVAL : wake_both(call.word, call.value, call.value3);
        case FUTEX_REQUEUE:
        case FUTEX_CMP_REQUEUE:
            return is_ours && is_word(call.word2) ? requeue(call, command == FUTEX_CMP_REQUEUE)
                                                  : in_kernel(call);
        case FUTEX_WAKE_OP:
            return is_ours ? wake_op(call) : in_kernel(call);
        default:
            return in_kernel(call);
    }
}

// Calls that a handler ends although it was installed with SA_RESTART (signal(7)).
bool is_never_restarted(long number) {
    switch (number) {
        case SYS_ppoll:
        case SYS_select:
        case SYS_pselect6:
        case SYS_epoll_pwait:
        case SYS_epoll_pwait2:
        case SYS_rt_sigtimedwait:
        case SYS_rt_sigsuspend:
        case SYS_pause:
        case SYS_msgrcv:
        case SYS_msgsnd:
        case SYS_semop:
        case SYS_semtimedop:
        case SYS_io_getevents:
            return true;
        default:
            return false;
    }
}

// Directed signals reach the fiber meanwhile; no cancellation point.
long generic_call(Fiber* fiber, interpose::Region region, long number, const long* a) {
    if (fiber == nullptr || fiber->in_call)
        return host::raw_syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    const NoCancel guard(fiber);
    const auto restart =
        is_never_restarted(number) ? interpose::Restart::kNo : interpose::Restart::kYes;
    if (region == interpose::Region::kMaybe)
        return interpose::predicted_region_call(fiber, PredictedCall(call_key(number, 1)), restart,
                                                number, a);
    return interpose::region_call(fiber, region, restart, number, a);
}

std::atomic<bool> program_registered{false};

// The runtime has registered this process for its own use; the program is to see only what it did.
long membarrier(const long* a) {
    const bool wants = a[0] == MEMBARRIER_CMD_PRIVATE_EXPEDITED && a[1] == 0;
    if (wants && !program_registered.load()) return -EPERM;
    const long answer = host::raw_syscall(SYS_membarrier, a[0], a[1], a[2]);
    if (answer == 0 && a[0] == MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
        program_registered.store(true);
    return answer;
}

long dispatch(long number, const long* a) {
    Fiber* fiber = current_fiber();
    switch (number) {
        case SYS_futex:
            return futex(fiber, {reinterpret_cast<uint32_t*>(a[0]), static_cast<int>(a[1]),
                                 static_cast<uint32_t>(a[2]), a[3],
                                 reinterpret_cast<uint32_t*>(a[4]), static_cast<uint32_t>(a[5])});
        case SYS_futex_waitv:
            return generic_call(fiber, interpose::Region::kHandOff, number, a);
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
        case SYS_membarrier:
            return membarrier(a);
        // Never blocking, or not returning here as it was called.
        case SYS_getpid:
        case SYS_vfork:
        case SYS_exit_group:
        case SYS_getrandom:
            break;
        default: {
            long answer = 0;
            if (interpose::serve_queue_call(number, a, &answer)) return answer;
            if (interpose::serve_thread_call(number, a, &answer)) return answer;
            if (interpose::serve_raw_call(number, a, &answer)) return answer;
            return generic_call(fiber, interpose::Region::kMaybe, number, a);
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
