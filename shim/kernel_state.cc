// See kernel_state.h.
#include "shim/kernel_state.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <new>

#include "scheduler/lock.h"
#include "shim/thread.h"
#include "shim/thread_attr.h"

namespace pfiber::shim {

namespace {

constexpr size_t kMostBytes = 1024;  // CPU masks of 8192 CPUs, the most that Linux is built for
constexpr int kOfProcess = 1;        // IOPRIO_WHO_PROCESS; PRIO_PROCESS is 0

}  // namespace

// What others want for a fiber that is not bound; its own page, so that no malloc is called.
struct StateRequest {
    size_t mask_bytes = 0;  // 0: no affinity
    unsigned char mask[kMostBytes];
    bool has_policy = false, has_nice = false, has_io_priority = false;
    int policy = 0, priority = 0, nice = 0, io_priority = 0;
};

namespace {

Lock request_lock;  // each Thread::wanted, and becoming bound; a leaf

void free_request(StateRequest* request) {
    if (request != nullptr) host::raw_munmap(request, sizeof *request);
}

long set_policy(int tid, int policy, int priority) {
    sched_param parameters{};
    parameters.sched_priority = priority;
    return host::raw_syscall(SYS_sched_setscheduler, tid, policy, &parameters);
}

void apply(const StateRequest& request) {
    if (request.mask_bytes != 0)
        host::raw_syscall(SYS_sched_setaffinity, 0, request.mask_bytes, request.mask);
    if (request.has_policy) set_policy(0, request.policy, request.priority);
    if (request.has_nice) host::raw_syscall(SYS_setpriority, PRIO_PROCESS, 0, request.nice);
    if (request.has_io_priority)
        host::raw_syscall(SYS_ioprio_set, kOfProcess, 0, request.io_priority);
}

void ask_to_attend(Fiber* fiber) {
    fiber->attention.fetch_or(kAttendState);
    kick(fiber);
}

// Makes the change now when the fiber is bound, else notes it.  now(tid) is the system call, note()
// writes into a request.  The fiber is not the calling one.
template <class Now, class Note>
long change_of_other(Fiber* fiber, Now&& now, Note&& note) {
    Thread* thread = thread_of(fiber);
    {
        OptionalSection section;
        LockGuard guard(request_lock);
        if (thread->takes_no_signals) return -ESRCH;
        if (thread->has_kernel_state) return now(worker_tid(fiber));
        if (thread->wanted == nullptr) {
            const long page = host::raw_mmap(nullptr, sizeof(StateRequest), PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (host::is_error(page)) return -ENOMEM;
            thread->wanted = new (reinterpret_cast<void*>(page)) StateRequest;
        }
        note(thread->wanted);
    }
    ask_to_attend(fiber);
    return 0;
}

bool is_everywhere(size_t size, const void* mask) {
    unsigned char all[kMostBytes] = {};
    const long bytes = host::raw_syscall(SYS_sched_getaffinity, template_tid(), sizeof all, all);
    for (long i = 0; i < bytes; i++) {
        const unsigned char wanted =
            static_cast<size_t>(i) < size ? static_cast<const unsigned char*>(mask)[i] : 0;
        if ((all[i] & ~wanted) != 0) return false;
    }
    return bytes > 0;
}

// Whether the kernel takes the mask at all, asked for the calling thread, which gets its own back.
long try_mask(size_t size, const void* mask) {
    unsigned char own[kMostBytes];
    OptionalSection section;  // not to another worker in between
    const long bytes = host::raw_syscall(SYS_sched_getaffinity, 0, sizeof own, own);
    const long rc = host::raw_syscall(SYS_sched_setaffinity, 0, size, mask);
    if (rc == 0 && bytes > 0) host::raw_syscall(SYS_sched_setaffinity, 0, bytes, own);
    return rc;
}

bool is_privileged_or(int resource, uint64_t least) {
    struct {
        uint64_t current, most;
    } limit{};
    host::raw_syscall(SYS_prlimit64, 0, resource, nullptr, &limit);
    if (limit.current >= least) return true;
    __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3]{};
    host::raw_syscall(SYS_capget, &head, sets);
    return (sets[0].effective >> CAP_SYS_NICE & 1) != 0;
}

bool is_real_time(int policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }

long check_policy(int policy, int priority) {
    const long low = host::raw_syscall(SYS_sched_get_priority_min, policy);
    const long high = host::raw_syscall(SYS_sched_get_priority_max, policy);
    if (low < 0 || priority < low || priority > high) return -EINVAL;
    return is_real_time(policy) && !is_privileged_or(RLIMIT_RTPRIO, static_cast<uint64_t>(priority))
               ? -EPERM
               : 0;
}

// As the kernel has it, which knows what was inherited, reset or made by raw calls.
bool is_in_real_time(int tid) {
    const auto policy = static_cast<int>(host::raw_syscall(SYS_sched_getscheduler, tid));
    return policy >= 0 && (is_real_time(policy & ~SCHED_RESET_ON_FORK) || policy == SCHED_DEADLINE);
}

bool has_policy_of_process(int policy, int priority) {
    sched_param parameters{};
    host::raw_syscall(SYS_sched_getparam, template_tid(), &parameters);
    return host::raw_syscall(SYS_sched_getscheduler, template_tid()) == policy &&
           parameters.sched_priority == priority;
}

// On the fiber itself, bound, outside the runtime: a real-time class runs beside the processors.
void follow_policy(Fiber* self) {
    if (is_in_real_time(0))
        run_beside(self);
    else
        run_on_processor(self);
}

}  // namespace

KernelStateChange::KernelStateChange(Fiber* self)
    : self_(self), is_first_(self != nullptr && !thread_of(self)->has_kernel_state) {
    if (!is_first_) return;
    RuntimeSection section(self);
    lock_to_own_worker(self);
    LockGuard guard(request_lock);
    thread_of(self)->has_kernel_state = true;
}

long KernelStateChange::done(long answer) {
    if (is_first_ && !host::is_error(answer)) follow_policy(self_);
    if (!is_first_ || !host::is_error(answer)) return answer;
    RuntimeSection section(self_);
    LockGuard guard(request_lock);
    thread_of(self_)->has_kernel_state = false;
    unlock_from_worker(self_);
    return answer;
}

long change_affinity(Fiber* fiber, size_t size, const void* mask) {
    const bool is_own = fiber == current_fiber();
    // The kernel reads the mask before it looks for the thread, which does not exist.
    if (host::raw_syscall(SYS_sched_setaffinity, kFirstFiberTid, size, mask) == -EFAULT)
        return -EFAULT;
    if (is_own && !thread_of(fiber)->has_kernel_state && is_everywhere(size, mask)) return 0;
    if (is_own) return change_own_state(fiber, SYS_sched_setaffinity, 0, size, mask);
    if (const long rc = try_mask(size, mask); rc != 0) return rc;
    return change_of_other(
        fiber, [&](int tid) { return host::raw_syscall(SYS_sched_setaffinity, tid, size, mask); },
        [&](StateRequest* request) {
            request->mask_bytes = size < kMostBytes ? size : kMostBytes;
            memcpy(request->mask, mask, request->mask_bytes);
        });
}

long change_policy(Fiber* fiber, int policy, int priority) {
    Thread* thread = thread_of(fiber);
    long rc = 0;
    if (thread->takes_no_signals) return -ESRCH;
    const int wanted = is_real_time(policy) ? raised_priority(thread, priority) : priority;
    if (policy == thread->policy && priority == thread->priority) {
        rc = check_policy(policy, priority);
    } else if (fiber == current_fiber()) {
        KernelStateChange change(fiber);
        rc = change.done(set_policy(0, policy, wanted));
        if (rc == 0) follow_policy(fiber);
    } else if ((rc = check_policy(policy & ~SCHED_RESET_ON_FORK, priority)) == 0) {
        rc = change_of_other(
            fiber, [&](int tid) { return set_policy(tid, policy, wanted); },
            [&](StateRequest* request) {
                request->has_policy = true;
                request->policy = policy;
                request->priority = wanted;
            });
        if (rc == 0) ask_to_attend(fiber);
    }
    if (rc != 0) return rc;
    thread_set_policy(fiber, policy, priority);
    return 0;
}

long change_nice(Fiber* fiber, int nice) {
    if (20 - nice == read_nice(fiber)) return 0;
    if (fiber == current_fiber())
        return change_own_state(fiber, SYS_setpriority, PRIO_PROCESS, 0, nice);
    const auto reach = static_cast<uint64_t>(nice < -20 ? 40 : nice > 19 ? 1 : 20 - nice);
    if (static_cast<long>(reach) > read_nice(fiber) && !is_privileged_or(RLIMIT_NICE, reach))
        return -EACCES;
    return change_of_other(
        fiber, [&](int tid) { return host::raw_syscall(SYS_setpriority, PRIO_PROCESS, tid, nice); },
        [&](StateRequest* request) {
            request->has_nice = true;
            request->nice = nice < -20 ? -20 : nice > 19 ? 19 : nice;
        });
}

long change_io_priority(Fiber* fiber, int value) {
    if (fiber == current_fiber())
        return change_own_state(fiber, SYS_ioprio_set, kOfProcess, 0, value);
    return change_of_other(
        fiber, [&](int tid) { return host::raw_syscall(SYS_ioprio_set, kOfProcess, tid, value); },
        [&](StateRequest* request) {
            request->has_io_priority = true;
            request->io_priority = value;
        });
}

int kernel_thread_of(Fiber* fiber) {
    return thread_of(fiber)->has_kernel_state ? worker_tid(fiber) : template_tid();
}

long read_affinity(Fiber* fiber, size_t size, void* mask) {
    const size_t most = size < INT32_MAX ? size : INT32_MAX;
    OptionalSection section;
    LockGuard guard(request_lock);
    const StateRequest* request = thread_of(fiber)->wanted;
    const long bytes =
        host::raw_syscall(SYS_sched_getaffinity, kernel_thread_of(fiber), most, mask);
    if (bytes <= 0 || request == nullptr || request->mask_bytes == 0) return bytes;
    memset(mask, 0, static_cast<size_t>(bytes));
    const size_t known = request->mask_bytes < static_cast<size_t>(bytes)
                             ? request->mask_bytes
                             : static_cast<size_t>(bytes);
    memcpy(mask, request->mask, known);
    return bytes;
}

long read_nice(Fiber* fiber) {
    OptionalSection section;
    LockGuard guard(request_lock);
    const StateRequest* request = thread_of(fiber)->wanted;
    if (request != nullptr && request->has_nice) return 20 - request->nice;
    return host::raw_syscall(SYS_getpriority, PRIO_PROCESS, kernel_thread_of(fiber));
}

long read_io_priority(Fiber* fiber) {
    OptionalSection section;
    LockGuard guard(request_lock);
    const StateRequest* request = thread_of(fiber)->wanted;
    if (request != nullptr && request->has_io_priority) return request->io_priority;
    return host::raw_syscall(SYS_ioprio_get, kOfProcess, kernel_thread_of(fiber));
}

namespace {

struct SchedulingAttributes {  // the head of sched_setattr's structure
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
};

long set_attributes(Fiber* fiber, const void* attributes, long flags) {
    Thread* thread = thread_of(fiber);
    if (fiber == current_fiber()) {
        const long rc = change_own_state(fiber, SYS_sched_setattr, 0, attributes, flags);
        sched_param now{};
        if (rc != 0) return rc;
        const auto policy = static_cast<int>(host::raw_syscall(SYS_sched_getscheduler, 0));
        host::raw_syscall(SYS_sched_getparam, 0, &now);
        thread_set_policy(fiber, policy, now.sched_priority);
        follow_policy(fiber);
        return 0;
    }
    if (thread->has_kernel_state)
        return host::raw_syscall(SYS_sched_setattr, worker_tid(fiber), attributes, flags);
    // What can be noted: no deadlines, no utilisation clamps.
    const auto* wanted = static_cast<const SchedulingAttributes*>(attributes);
    if (wanted->policy > SCHED_IDLE) return -EINVAL;
    const auto policy = static_cast<int>(wanted->policy);
    const long rc = change_policy(fiber, policy, static_cast<int>(wanted->priority));
    return rc != 0 || is_real_time(policy) ? rc : change_nice(fiber, wanted->nice);
}

}  // namespace

bool thread_id_call(Fiber* self, long number, const long* a, long* answer) {
    const bool has_which =
        number == SYS_ioprio_set || number == SYS_ioprio_get || number == SYS_getpriority;
    const bool is_one = has_which || number == SYS_sched_setattr || number == SYS_sched_getattr ||
                        number == SYS_sched_rr_get_interval || number == SYS_sched_getaffinity;
    if (!is_one || (has_which && a[0] != (number == SYS_getpriority ? PRIO_PROCESS : kOfProcess)))
        return false;
    const long tid = has_which ? a[1] : a[0];
    Fiber* fiber = tid == 0 || tid == self->tid ? self : fiber_with_tid(static_cast<uint32_t>(tid));
    if (fiber == nullptr) {
        *answer = -ESRCH;
        return tid >= kFirstFiberTid;
    }
    const int kernel = kernel_thread_of(fiber);
    switch (number) {
        case SYS_ioprio_set:
            *answer = change_io_priority(fiber, static_cast<int>(a[2]));
            return true;
        case SYS_ioprio_get:
            *answer = read_io_priority(fiber);
            return true;
        case SYS_getpriority:
            *answer = read_nice(fiber);
            return true;
        case SYS_sched_getaffinity:
            *answer =
                read_affinity(fiber, static_cast<size_t>(a[1]), reinterpret_cast<void*>(a[2]));
            return true;
        case SYS_sched_rr_get_interval:
            *answer = host::raw_syscall(number, kernel, a[1]);
            return true;
        case SYS_sched_getattr:
            *answer = host::raw_syscall(number, kernel, a[1], a[2], a[3]);
            return true;
        default:
            *answer = set_attributes(fiber, reinterpret_cast<const void*>(a[1]), a[2]);
            return true;
    }
}

int kernel_state_of_new(Fiber* fiber, const ThreadAttributes& wanted) {
    const Fiber* self = current_fiber();
    const bool inherits = self != nullptr && thread_of(self)->has_kernel_state;
    const bool has_mask =
        wanted.mask_bytes != 0 && !is_everywhere(wanted.mask_bytes, wanted.cpu_mask);
    const bool has_policy =
        wanted.has_policy && (inherits || !has_policy_of_process(wanted.policy, wanted.priority));
    if (wanted.has_policy) {
        if (const long rc = check_policy(wanted.policy, wanted.priority); rc != 0)
            return static_cast<int>(-rc);
    }
    if (!inherits && !has_mask && !has_policy) return 0;
    if (!bind_to_new_worker(fiber)) return EAGAIN;
    thread_of(fiber)->has_kernel_state = true;
    const int tid = worker_tid(fiber);
    long rc = 0;
    if (wanted.mask_bytes != 0)
        rc = host::raw_syscall(SYS_sched_setaffinity, tid, wanted.mask_bytes, wanted.cpu_mask);
    if (rc == 0 && has_policy) rc = set_policy(tid, wanted.policy, wanted.priority);
    if (rc != 0) unbind_from_new_worker(fiber);
    if (rc == 0 && is_in_real_time(tid)) begin_beside(fiber);
    return static_cast<int>(-rc);
}

namespace {

void carry_out(Fiber* self) {
    Thread* thread = thread_of(self);
    RuntimeSection section(self);
    const bool is_first = !thread->has_kernel_state;
    if (is_first) lock_to_own_worker(self);
    StateRequest* request;
    {
        LockGuard guard(request_lock);
        request = thread->wanted;
        thread->wanted = nullptr;
        if (request != nullptr) {
            thread->has_kernel_state = true;
            apply(*request);
        }
    }
    if (request == nullptr && is_first) unlock_from_worker(self);
    free_request(request);
}

}  // namespace

void attend_kernel_state(Fiber* self) {
    carry_out(self);
    if (thread_of(self)->has_kernel_state) follow_policy(self);
}

void kernel_state_forget(Fiber* self) {
    Thread* thread = thread_of(self);
    RuntimeSection section(self);
    LockGuard guard(request_lock);
    free_request(thread->wanted);
    thread->wanted = nullptr;
}

void kernel_state_after_fork() { request_lock.reset(); }

}  // namespace pfiber::shim
