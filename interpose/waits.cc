// Waits that no descriptor announces: System V objects, POSIX queues, children, terminals.
//
// Each is tried without blocking first where the call knows a flag for it, then handed off; senders
// to message queues park.
#include "interpose/hooks.h"
#include "interpose/io.h"
#include "shim/mask.h"
#include "shim/libc_sync.h"
#include "shim/signal.h"

namespace pfiber::interpose {

namespace {

// A message queue is a descriptor that epoll knows, but its calls follow its own O_NONBLOCK: poll,
// park, then call with a deadline in the past, which tries and does not wait.
template <class Call>
long send_call(Fiber* fiber, mqd_t queue, const timespec* absolute, Call&& call) {
    if (absolute != nullptr && (!can_read(absolute) || !is_valid(absolute))) {
        return call(queue, absolute);  // EINVAL only where the call would wait
    }
    Descriptor* descriptor = descriptor_of(queue);
    if (descriptor == nullptr) return call(queue, absolute);
    const timespec past{};
    Waiting waiting(fiber, queue, descriptor, kWrite);
    waiting.set_deadline(absolute == nullptr ? kNever
                                             : monotonic_deadline(CLOCK_REALTIME, absolute));
    for (;;) {
        RuntimeSection::enter(fiber);
        const bool had = waiting.clear();
        const long answer = call(waiting.fd, &past);
        // EAGAIN is the queue's own non-blocking mode.
        Step step = Step::kRetry;
        if (answer != -ETIMEDOUT) {
            waiting.restore(had);
        } else {
            waiting.never_nonblocking();
            step = waiting.wait();
        }
        RuntimeSection::leave(fiber);
        if (answer != -ETIMEDOUT) return answer;
        switch (step) {
            case Step::kTimedOut:
                return -ETIMEDOUT;
            case Step::kInterrupted:
                if (waiting.interrupted(Restart::kYes)) return -EINTR;
                break;
            case Step::kUnpollable:
                return -ENOTRECOVERABLE;
            default:
                break;
        }
    }
}

long wait_for_child(pid_t pid, int* status, int options, rusage* usage) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return plain_call(SYS_wait4, pid, status, options, usage);
    shim::cancellation_point(fiber);
    long child = host::raw_syscall(SYS_wait4, pid, status, options | WNOHANG, usage);
    if (child == 0 && (options & WNOHANG) == 0) {
        child = blocking_call(fiber, Restart::kYes, SYS_wait4, pid, status, options, usage);
        // The kernel looks for children before it looks for signals.  SIGCHLD that came before the
        // call was under way is handled by now, so what it told of is there.
        if (child == -EINTR) {
            child = host::raw_syscall(SYS_wait4, pid, status, options | WNOHANG, usage);
            if (child == 0) child = -EINTR;
        }
    }
    if (child > 0) shim::handle_signals_until_now(fiber);
    return child;
}

}  // namespace

}  // namespace pfiber::interpose

using namespace pfiber;
using namespace pfiber::interpose;

using Own = shim::LibcWait::Own;

extern "C" {

// ---- children

pid_t pf_wait4(pid_t pid, int* status, int options, rusage* usage) {
    return static_cast<pid_t>(result(wait_for_child(pid, status, options, usage)));
}
pid_t pf_waitpid(pid_t pid, int* status, int options) {
    return pf_wait4(pid, status, options, nullptr);
}
pid_t pf_wait3(int* status, int options, rusage* usage) {
    return pf_wait4(-1, status, options, usage);
}
pid_t pf_wait(int* status) { return pf_wait4(-1, status, 0, nullptr); }

int pf_waitid(idtype_t type, id_t id, siginfo_t* info, int options) {
    Fiber* fiber = calling_fiber();
    if (fiber != nullptr) shim::cancellation_point(fiber);
    if (fiber == nullptr || (options & WNOHANG) != 0)
        return static_cast<int>(result(plain_call(SYS_waitid, type, id, info, options, nullptr)));
    siginfo_t seen{};
    const long tried = host::raw_syscall(SYS_waitid, type, id, &seen, options | WNOHANG, nullptr);
    if (tried != 0 || seen.si_pid != 0) {
        shim::handle_signals_until_now(fiber);
        if (tried == 0 && info != nullptr) *info = seen;
        return static_cast<int>(result(tried));
    }
    long waited = blocking_call(fiber, Restart::kYes, SYS_waitid, type, id, info, options, nullptr);
    if (waited == -EINTR) {  // as above
        const long again =
            host::raw_syscall(SYS_waitid, type, id, &seen, options | WNOHANG, nullptr);
        if (again != 0 || seen.si_pid != 0) waited = again;
        if (waited == 0 && info != nullptr) *info = seen;
    }
    if (waited == 0) shim::handle_signals_until_now(fiber);
    return static_cast<int>(result(waited));
}

// ---- System V

int pf_msgsnd(int queue, const void* message, size_t size, int flags) {
    Fiber* fiber = calling_fiber();
    if (fiber != nullptr) shim::cancellation_point(fiber);
    const bool waits = fiber != nullptr && (flags & IPC_NOWAIT) == 0;
    const long tried =
        host::raw_syscall(SYS_msgsnd, queue, message, size, waits ? flags | IPC_NOWAIT : flags);
    if (!waits || tried != -EAGAIN) return static_cast<int>(result(tried));
    return static_cast<int>(
        result(blocking_call(fiber, Restart::kNo, SYS_msgsnd, queue, message, size, flags)));
}

ssize_t pf_msgrcv(int queue, void* message, size_t size, long type, int flags) {
    Fiber* fiber = calling_fiber();
    if (fiber != nullptr) shim::cancellation_point(fiber);
    const bool waits = fiber != nullptr && (flags & IPC_NOWAIT) == 0;
    const long tried = host::raw_syscall(SYS_msgrcv, queue, message, size, type,
                                         waits ? flags | IPC_NOWAIT : flags);
    if (!waits || tried != -ENOMSG) return result(tried);
    return result(
        blocking_call(fiber, Restart::kNo, SYS_msgrcv, queue, message, size, type, flags));
}

// A try with a timeout of nothing: the flag would have to be set in the program's array.
int pf_semtimedop(int set, sembuf* operations, size_t count, const timespec* timeout) {
    Fiber* fiber = calling_fiber();
    const bool is_refused = !can_read_if_given(timeout) || is_bad(timeout) ||
                            (count <= 64 && !can_read(operations, count * sizeof *operations));
    if (fiber == nullptr || is_refused)
        return static_cast<int>(
            result(host::raw_syscall(SYS_semtimedop, set, operations, count, timeout)));
    const int64_t deadline = timeout == nullptr ? kNever : deadline_after(nanoseconds(timeout));
    const timespec nothing{};
    bool may_wait = count <= 64;
    for (size_t i = 0; may_wait && i < count; i++)
        if ((operations[i].sem_flg & IPC_NOWAIT) != 0) may_wait = false;
    if (may_wait) {
        const long tried = host::raw_syscall(SYS_semtimedop, set, operations, count, &nothing);
        if (tried != -EAGAIN) return static_cast<int>(result(tried));
        if (deadline != kNever && Platform::now_ns() >= deadline)
            return static_cast<int>(result(-EAGAIN));
    }
    timespec left{};
    if (deadline != kNever) left = to_timespec(deadline - Platform::now_ns());
    const shim::NoCancel guard(fiber);
    return static_cast<int>(
        result(blocking_call(fiber, Restart::kNo, SYS_semtimedop, set, operations, count,
                             deadline == kNever ? nullptr : &left)));
}
int pf_semop(int set, sembuf* operations, size_t count) {
    return pf_semtimedop(set, operations, count, nullptr);
}

// ---- POSIX message queues

// Whoever waits for a message waits in the kernel: where no thread does, the kernel notifies those
// that asked for it (mq_notify), in this process or another.

ssize_t pf_mq_timedreceive(mqd_t queue, char* data, size_t size, unsigned* priority,
                           const timespec* absolute) {
    Fiber* fiber = calling_fiber();
    const auto call = [&](int fd, const timespec* until) {
        return host::raw_syscall(SYS_mq_timedreceive, fd, data, size, priority, until);
    };
    if (fiber == nullptr) return result(call(queue, absolute));
    shim::cancellation_point(fiber);
    // A time limit that is none is the kernel's to refuse.
    if (absolute == nullptr || (can_read(absolute) && is_valid(absolute))) {
        const timespec past{};
        const long tried = call(queue, &past);
        if (tried != -ETIMEDOUT) return result(tried);
    }
    return result(blocking_call(fiber, Restart::kYes, SYS_mq_timedreceive, queue, data, size,
                                priority, absolute));
}
ssize_t pf_mq_receive(mqd_t queue, char* data, size_t size, unsigned* priority) {
    return pf_mq_timedreceive(queue, data, size, priority, nullptr);
}
int pf_mq_timedsend(mqd_t queue, const char* data, size_t size, unsigned priority,
                    const timespec* absolute) {
    Fiber* fiber = calling_fiber();
    const auto call = [&](int fd, const timespec* until) {
        return host::raw_syscall(SYS_mq_timedsend, fd, data, size, priority, until);
    };
    if (fiber == nullptr) return static_cast<int>(result(call(queue, absolute)));
    shim::cancellation_point(fiber);
    return static_cast<int>(result(send_call(fiber, queue, absolute, call)));
}
int pf_mq_send(mqd_t queue, const char* data, size_t size, unsigned priority) {
    return pf_mq_timedsend(queue, data, size, priority, nullptr);
}
int pf_mq_close(mqd_t queue) {
    if (is_hidden(queue)) return static_cast<int>(result(-EBADF));
    note_closing(queue);
    return static_cast<int>(result(host::raw_syscall(SYS_close, queue)));
}

// ---- terminals

int pf_tcdrain(int fd) {
    constexpr unsigned long kTcsbrk = 0x5409;
    if (is_hidden(fd)) return static_cast<int>(result(-EBADF));
    return static_cast<int>(long_call(Restart::kYes, SYS_ioctl, fd, kTcsbrk, 1));
}

int pf_tcsetattr(int fd, int actions, const termios* wanted) {
    if (is_hidden(fd)) return static_cast<int>(result(-EBADF));
    if (actions == TCSANOW) return in_region([&] { return real(tcsetattr)(fd, actions, wanted); });
    return in_handed_off_region([&] { return real(tcsetattr)(fd, actions, wanted); });
}

// ---- requests that libc's own threads work on; libc waits on a futex in its inside

// They are libc's to end: its completions wake a word in its own frames.
int pf_aio_suspend(const aiocb* const list[], int count, const timespec* timeout) {
    const shim::LibcWait wait(Own::kWaitsCancellably, timeout == nullptr);
    return real(aio_suspend)(list, count, timeout);
}

int pf_lio_listio(int mode, aiocb* const list[], int count, sigevent* event) {
    if (mode != LIO_WAIT) return real(lio_listio)(mode, list, count, event);
    const shim::LibcWait wait(Own::kWaits, true);
    return real(lio_listio)(mode, list, count, event);
}

int pf_gai_suspend(const gaicb* const list[], int count, const timespec* timeout) {
    const shim::LibcWait wait(Own::kWaitsCancellably, timeout == nullptr);
    return real(gai_suspend)(list, count, timeout);
}

int pf_getaddrinfo_a(int mode, gaicb* list[], int count, sigevent* event) {
    if (mode != GAI_WAIT) return real(getaddrinfo_a)(mode, list, count, event);
    const shim::LibcWait wait(Own::kWaits, true);
    return real(getaddrinfo_a)(mode, list, count, event);
}

}  // extern "C"
