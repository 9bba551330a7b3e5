// Scheduling parameters, affinity, nice values and CPU clocks of threads.
//
// The kernel schedules workers.  A fiber with an affinity, policy or nice value of its own is bound
// to its worker, which then has it (shim/kernel_state.h); calls about fibers translate their ids,
// since the kernel never sees one.  Normal policy for everybody is recorded and needs nothing.
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "interpose/hooks.h"
#include "scheduler/cpu_time.h"
#include "scheduler/host/clock.h"
#include "scheduler/runtime.h"
#include "shim/kernel_state.h"
#include "shim/thread.h"

using namespace pfiber;
using namespace pfiber::shim;

namespace {

int finish(long rc) {
    if (rc >= 0) return static_cast<int>(rc);
    errno = static_cast<int>(-rc);
    return -1;
}

// Whom a tid argument means: a fiber, a thread that only the kernel knows, or nobody.
struct Target {
    Fiber* fiber = nullptr;
    int tid = 0;  // kNobody: no such thread
};
constexpr int kNobody = INT_MIN;  // the kernel refuses other negative ids itself
Target target_of(pid_t tid) {
    Fiber* self = current_fiber();
    if (self == nullptr) return {nullptr, tid};
    if (tid == 0 || static_cast<uint32_t>(tid) == self->tid) return {self, 0};
    if (Fiber* fiber = fiber_with_tid(static_cast<uint32_t>(tid))) return {fiber, 0};
    return {nullptr, static_cast<uint32_t>(tid) < kFirstFiberTid || tid < 0 ? tid : kNobody};
}

// A call about one thread: by_fiber(fiber), or the kernel's own about any other tid.
template <class ByFiber, class... A>
int about(pid_t tid, ByFiber&& by_fiber, long number, A... arguments) {
    const Target target = target_of(tid);
    if (target.fiber != nullptr) return finish(by_fiber(target.fiber));
    return finish(target.tid == kNobody ? -ESRCH
                                        : host::raw_syscall(number, target.tid, arguments...));
}

bool has_ended(const Fiber* fiber) { return thread_of(fiber)->takes_no_signals; }

}  // namespace

extern "C" {

int pf_pthread_getaffinity_np(pthread_t thread, size_t size, cpu_set_t* set) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_getaffinity_np)(thread, size, set);
    const long rc = read_affinity(fiber, size, set);
    if (rc < 0) return static_cast<int>(-rc);
    memset(reinterpret_cast<char*>(set) + rc, 0, size - static_cast<size_t>(rc));
    return 0;
}

int pf_pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t* set) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_setaffinity_np)(thread, size, set);
    return static_cast<int>(-change_affinity(fiber, size, set));
}

int pf_sched_setaffinity(pid_t tid, size_t size, const cpu_set_t* set) {
    return about(
        tid, [&](Fiber* fiber) { return change_affinity(fiber, size, set); }, SYS_sched_setaffinity,
        size, set);
}

int pf_sched_getaffinity(pid_t tid, size_t size, cpu_set_t* set) {
    const Target target = target_of(tid);
    long rc = -ESRCH;
    if (target.fiber != nullptr)
        rc = read_affinity(target.fiber, size, set);
    else if (target.tid != kNobody)
        rc = host::raw_syscall(SYS_sched_getaffinity, target.tid,
                               size < INT32_MAX ? size : INT32_MAX, set);
    if (rc < 0) return finish(rc);
    memset(reinterpret_cast<char*>(set) + rc, 0, size - static_cast<size_t>(rc));
    return 0;
}

int pf_pthread_getschedparam(pthread_t thread, int* policy, sched_param* parameters) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_getschedparam)(thread, policy, parameters);
    if (has_ended(fiber)) return ESRCH;
    *policy = thread_of(fiber)->policy;
    parameters->sched_priority = thread_of(fiber)->priority;
    return 0;
}

int pf_pthread_setschedparam(pthread_t thread, int policy, const sched_param* parameters) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_setschedparam)(thread, policy, parameters);
    return static_cast<int>(-change_policy(fiber, policy, parameters->sched_priority));
}

int pf_pthread_setschedprio(pthread_t thread, int priority) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_setschedprio)(thread, priority);
    return static_cast<int>(-change_policy(fiber, thread_of(fiber)->policy, priority));
}

int pf_sched_setscheduler(pid_t tid, int policy, const sched_param* parameters) {
    if (parameters == nullptr) return finish(-EINVAL);
    return about(
        tid, [&](Fiber* fiber) { return change_policy(fiber, policy, parameters->sched_priority); },
        SYS_sched_setscheduler, policy, parameters);
}

int pf_sched_setparam(pid_t tid, const sched_param* parameters) {
    if (parameters == nullptr) return finish(-EINVAL);
    return about(
        tid,
        [&](Fiber* fiber) {
            return change_policy(fiber, thread_of(fiber)->policy, parameters->sched_priority);
        },
        SYS_sched_setparam, parameters);
}

int pf_sched_getscheduler(pid_t tid) {
    return about(
        tid, [](Fiber* fiber) { return long{thread_of(fiber)->policy}; }, SYS_sched_getscheduler);
}

int pf_sched_getparam(pid_t tid, sched_param* parameters) {
    if (parameters == nullptr) return finish(-EINVAL);
    return about(
        tid,
        [&](Fiber* fiber) {
            const Thread* thread = thread_of(fiber);
            parameters->sched_priority = raised_priority(thread, thread->priority);
            return 0L;
        },
        SYS_sched_getparam, parameters);
}

int pf_sched_rr_get_interval(pid_t tid, timespec* interval) {
    return about(
        tid,
        [&](Fiber* fiber) {
            return host::raw_syscall(SYS_sched_rr_get_interval, kernel_thread_of(fiber), interval);
        },
        SYS_sched_rr_get_interval, interval);
}

// ---- nice values, which Linux keeps per thread

int pf_setpriority(__priority_which_t which, id_t who, int nice) {
    const Target target = which == PRIO_PROCESS ? target_of(static_cast<pid_t>(who)) : Target{};
    if (target.fiber != nullptr) return finish(change_nice(target.fiber, nice));
    if (target.tid == kNobody) return finish(-ESRCH);
    return finish(host::raw_syscall(SYS_setpriority, static_cast<int>(which), who, nice));
}

// -1 is a value here: errno tells (getpriority(2)).
int pf_getpriority(__priority_which_t which, id_t who) {
    const Target target = which == PRIO_PROCESS ? target_of(static_cast<pid_t>(who)) : Target{};
    long rc = -ESRCH;
    if (target.fiber != nullptr)
        rc = read_nice(target.fiber);
    else if (target.tid != kNobody)
        rc = host::raw_syscall(SYS_getpriority, static_cast<int>(which), who);
    return rc < 0 ? finish(rc) : static_cast<int>(20 - rc);
}

int pf_nice(int increment) {
    Fiber* self = current_fiber();
    if (self == nullptr) return real(nice)(increment);
    const long now = 20 - read_nice(self);
    long wanted = now + increment;
    if (wanted > 19) wanted = 19;
    if (wanted < -20) wanted = -20;
    const long rc = change_nice(self, static_cast<int>(wanted));
    if (rc < 0) return finish(rc == -EACCES ? -EPERM : rc);
    return static_cast<int>(20 - read_nice(self));
}

// ---- CPU clocks

int pf_pthread_getcpuclockid(pthread_t thread, clockid_t* clock) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_getcpuclockid)(thread, clock);
    if (has_ended(fiber)) return ESRCH;
    *clock = static_cast<clockid_t>((~fiber->tid << 3) | 6);
    return 0;
}

int pf_clock_gettime(clockid_t clock, timespec* now) {
    if (__builtin_expect(clock >= 0 && clock != CLOCK_THREAD_CPUTIME_ID, 1))
        return real(clock_gettime)(clock, now);
    Fiber* fiber = clock == CLOCK_THREAD_CPUTIME_ID ? current_fiber() : fiber_of_clock(clock);
    if (fiber == nullptr || current_fiber() == nullptr) return real(clock_gettime)(clock, now);
    const int64_t ns = cpu_time_of(fiber);
    *now = {ns / 1000000000, ns % 1000000000};
    return 0;
}

int pf_clock_getres(clockid_t clock, timespec* resolution) {
    // A fiber's CPU clock is read from kernel threads' clocks.
    if (clock < 0 && current_fiber() != nullptr && fiber_of_clock(clock) != nullptr)
        clock = CLOCK_THREAD_CPUTIME_ID;
    return real(clock_getres)(clock, resolution);
}

int pf_getrusage(__rusage_who_t who, rusage* usage) {
    const long rc = host::raw_syscall(SYS_getrusage, static_cast<int>(who), usage);
    Fiber* self = current_fiber();
    if (rc == 0 && static_cast<int>(who) == RUSAGE_THREAD && self != nullptr) {
        // The worker's split between user and system, scaled to the fiber's own time.
        const int64_t ns = cpu_time_of(self);
        const int64_t user = usage->ru_utime.tv_sec * 1000000LL + usage->ru_utime.tv_usec;
        const int64_t system = usage->ru_stime.tv_sec * 1000000LL + usage->ru_stime.tv_usec;
        const int64_t all = user + system;
        const int64_t own_user = all == 0 ? ns / 1000 : ns / 1000 * user / all;
        const int64_t own_system = ns / 1000 - own_user;
        usage->ru_utime = {own_user / 1000000, own_user % 1000000};
        usage->ru_stime = {own_system / 1000000, own_system % 1000000};
    }
    return finish(rc);
}

}  // extern "C"
