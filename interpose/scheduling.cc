// Scheduling parameters, affinity, names through prctl, and CPU clocks of threads.
//
// The kernel schedules workers.  A fiber that asks for an affinity or policy of its own is bound to
// its worker, which then has it; calls about fibers translate their ids, since the kernel never
// sees one.  Normal policy for everybody is recorded and needs nothing.
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "interpose/hooks.h"
#include "scheduler/cpu_time.h"
#include "scheduler/host/clock.h"
#include "scheduler/runtime.h"
#include "shim/exit_words.h"
#include "shim/thread.h"

using namespace pfiber;
using namespace pfiber::shim;

namespace {

constexpr uint32_t kFirstFiberTid = 1u << 22;

int finish(long rc) {
    if (rc >= 0) return static_cast<int>(rc);
    errno = static_cast<int>(-rc);
    return -1;
}

// A kernel clock of one thread (man clock_getres): which fiber's, or null.
Fiber* fiber_of_clock(clockid_t clock) {
    if (clock >= 0 || (clock & 7) != 6) return nullptr;
    return fiber_with_tid(~static_cast<uint32_t>(clock >> 3));
}

// What a tid argument means to the kernel: 0 and a fiber's own id are its worker.  -1: no such.
int kernel_tid(pid_t tid) {
    Fiber* self = current_fiber();
    if (self == nullptr) return tid;
    if (tid == 0 || static_cast<uint32_t>(tid) == self->tid) return worker_tid(self);
    if (static_cast<uint32_t>(tid) < kFirstFiberTid) return tid;
    Fiber* fiber = fiber_with_tid(static_cast<uint32_t>(tid));
    if (fiber == nullptr) return -1;
    // Not running, not bound: what holds for the process holds for it.
    return fiber->locked_worker != nullptr ? worker_tid(fiber) : host::raw_getpid();
}

bool is_self(pid_t tid) {
    Fiber* self = current_fiber();
    return self != nullptr && (tid == 0 || static_cast<uint32_t>(tid) == self->tid);
}

bool is_process_affinity(size_t size, const cpu_set_t* set) {
    cpu_set_t whole;
    CPU_ZERO(&whole);
    host::raw_syscall(SYS_sched_getaffinity, host::raw_getpid(), sizeof whole, &whole);
    cpu_set_t wanted;
    CPU_ZERO(&wanted);
    memcpy(&wanted, set, size < sizeof wanted ? size : sizeof wanted);
    CPU_AND(&wanted, &wanted, &whole);
    return CPU_EQUAL(&wanted, &whole) != 0;
}

// For the calling fiber: bound to its worker from now on.
long set_own_affinity(Fiber* self, size_t size, const cpu_set_t* set) {
    if (self->locked_worker == nullptr && is_process_affinity(size, set)) return 0;
    const bool was_locked = self->locked_worker != nullptr;
    if (!was_locked) lock_to_worker(self);
    const long rc = host::raw_syscall(SYS_sched_setaffinity, 0, size, set);
    if (rc != 0 && !was_locked) unlock_from_worker(self);
    return rc;
}

bool is_valid_priority(int policy, int priority) {
    const long low = host::raw_syscall(SYS_sched_get_priority_min, policy);
    const long high = host::raw_syscall(SYS_sched_get_priority_max, policy);
    return low >= 0 && priority >= low && priority <= high;
}

long set_own_policy(Fiber* self, int policy, const sched_param* parameters) {
    Thread* thread = thread_of(self);
    if (policy != thread->policy || parameters->sched_priority != thread->priority) {
        const bool was_locked = self->locked_worker != nullptr;
        if (!was_locked) lock_to_worker(self);
        const long rc = host::raw_syscall(SYS_sched_setscheduler, 0, policy, parameters);
        if (rc != 0) {
            if (!was_locked) unlock_from_worker(self);
            return rc;
        }
    }
    thread->policy = policy;
    thread->priority = parameters->sched_priority;
    return 0;
}

int set_policy(Fiber* fiber, int policy, const sched_param* parameters) {
    if (!is_valid_priority(policy, parameters->sched_priority)) return EINVAL;
    if (fiber == current_fiber())
        return static_cast<int>(-set_own_policy(fiber, policy, parameters));
    thread_of(fiber)->policy = policy;
    thread_of(fiber)->priority = parameters->sched_priority;
    return 0;
}

void set_name(Fiber* fiber, const char* name) {
    char* own = thread_of(fiber)->name;
    size_t length = 0;
    for (; length < sizeof(Thread::name) - 1 && name[length] != 0; length++)
        own[length] = name[length];
    own[length] = 0;
}

}  // namespace

extern "C" {

int pf_pthread_getaffinity_np(pthread_t thread, size_t size, cpu_set_t* set) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_getaffinity_np)(thread, size, set);
    const int tid = fiber->locked_worker != nullptr ? worker_tid(fiber) : host::raw_getpid();
    const long rc =
        host::raw_syscall(SYS_sched_getaffinity, tid, size < INT32_MAX ? size : INT32_MAX, set);
    if (rc < 0) return static_cast<int>(-rc);
    memset(reinterpret_cast<char*>(set) + rc, 0, size - static_cast<size_t>(rc));
    return 0;
}

int pf_pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t* set) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_setaffinity_np)(thread, size, set);
    if (fiber == current_fiber()) return static_cast<int>(-set_own_affinity(fiber, size, set));
    return 0;
}

int pf_sched_setaffinity(pid_t tid, size_t size, const cpu_set_t* set) {
    if (is_self(tid)) return finish(set_own_affinity(current_fiber(), size, set));
    const int kernel = kernel_tid(tid);
    return finish(kernel < 0 ? -ESRCH
                             : host::raw_syscall(SYS_sched_setaffinity, kernel, size, set));
}

int pf_sched_getaffinity(pid_t tid, size_t size, cpu_set_t* set) {
    const int kernel = kernel_tid(tid);
    if (kernel < 0) return finish(-ESRCH);
    const long rc =
        host::raw_syscall(SYS_sched_getaffinity, kernel, size < INT32_MAX ? size : INT32_MAX, set);
    if (rc < 0) return finish(rc);
    memset(reinterpret_cast<char*>(set) + rc, 0, size - static_cast<size_t>(rc));
    return 0;
}

int pf_pthread_getschedparam(pthread_t thread, int* policy, sched_param* parameters) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_getschedparam)(thread, policy, parameters);
    *policy = thread_of(fiber)->policy;
    parameters->sched_priority = thread_of(fiber)->priority;
    return 0;
}

int pf_pthread_setschedparam(pthread_t thread, int policy, const sched_param* parameters) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_setschedparam)(thread, policy, parameters);
    return set_policy(fiber, policy, parameters);
}

int pf_pthread_setschedprio(pthread_t thread, int priority) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_setschedprio)(thread, priority);
    sched_param parameters{};
    parameters.sched_priority = priority;
    return set_policy(fiber, thread_of(fiber)->policy, &parameters);
}

int pf_sched_setscheduler(pid_t tid, int policy, const sched_param* parameters) {
    if (is_self(tid)) return finish(set_own_policy(current_fiber(), policy, parameters));
    const int kernel = kernel_tid(tid);
    return finish(kernel < 0
                      ? -ESRCH
                      : host::raw_syscall(SYS_sched_setscheduler, kernel, policy, parameters));
}

int pf_sched_setparam(pid_t tid, const sched_param* parameters) {
    if (is_self(tid))
        return finish(
            set_own_policy(current_fiber(), thread_of(current_fiber())->policy, parameters));
    const int kernel = kernel_tid(tid);
    return finish(kernel < 0 ? -ESRCH : host::raw_syscall(SYS_sched_setparam, kernel, parameters));
}

int pf_sched_getscheduler(pid_t tid) {
    if (is_self(tid)) return thread_of(current_fiber())->policy;
    const int kernel = kernel_tid(tid);
    return finish(kernel < 0 ? -ESRCH : host::raw_syscall(SYS_sched_getscheduler, kernel));
}

int pf_sched_getparam(pid_t tid, sched_param* parameters) {
    if (is_self(tid)) {
        parameters->sched_priority = thread_of(current_fiber())->priority;
        return 0;
    }
    const int kernel = kernel_tid(tid);
    return finish(kernel < 0 ? -ESRCH : host::raw_syscall(SYS_sched_getparam, kernel, parameters));
}

int pf_pthread_getcpuclockid(pthread_t thread, clockid_t* clock) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_getcpuclockid)(thread, clock);
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

int pf_prctl(int option, ...) {
    va_list list;
    va_start(list, option);
    const unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long),
                        c = va_arg(list, unsigned long), d = va_arg(list, unsigned long);
    va_end(list);
    Fiber* self = current_fiber();
    if (self != nullptr && option == PR_SET_NAME) {
        set_name(self, reinterpret_cast<const char*>(a));
        if (self != main_fiber()) return 0;
        return pf_pthread_setname_np(handle_of(self), thread_of(self)->name);
    }
    if (self != nullptr && option == PR_GET_NAME) {
        memset(reinterpret_cast<char*>(a), 0, sizeof(Thread::name));
        memcpy(reinterpret_cast<char*>(a), thread_of(self)->name, sizeof(Thread::name));
        return 0;
    }
    if (self != nullptr && option == PR_GET_TID_ADDRESS) {
        *reinterpret_cast<int**>(a) = exit_tid_address_get(self);
        return 0;
    }
    return finish(host::raw_syscall(SYS_prctl, option, a, b, c, d));
}

}  // extern "C"
