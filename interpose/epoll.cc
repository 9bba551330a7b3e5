// Waiting in an epoll instance of the program: it is itself parked on, by nesting it in ours.
#include "interpose/hooks.h"
#include "interpose/io.h"
#include "shim/mask.h"

namespace pfiber::interpose {

namespace {

long epoll_in_kernel(Fiber* fiber, int fd, epoll_event* events, int most, int64_t deadline_ns) {
    return timed_blocking_call(fiber, deadline_ns, 3, SYS_epoll_pwait2, fd, events, most, 0,
                               nullptr, 8);
}

// An epoll instance of the program, itself registered in ours: one outer event for each inner one,
// also when an earlier one was not collected; parked on only after it had nothing.  The
// notification is taken back before the first try already: a server that finds nothing parks after
// one call instead of two.
long epoll_on(Fiber* fiber, int fd, epoll_event* events, int most, int64_t deadline_ns,
              shim::InterruptMark mark, bool is_masked) {
    if (is_hidden(fd)) return -EBADF;
    if (deadline_ns == 0)
        return host::raw_syscall(SYS_epoll_pwait, fd, events, most, 0, nullptr, 8);
    const bool in_kernel = waits_in_kernel(fiber, is_masked);
    Descriptor* descriptor = in_kernel ? nullptr : descriptor_of(fd);
    if (descriptor == nullptr) {
        const long first = host::raw_syscall(SYS_epoll_pwait, fd, events, most, 0, nullptr, 8);
        if (first != 0) return first;
        return in_kernel ? epoll_in_kernel(fiber, fd, events, most, deadline_ns) : -ENOMEM;
    }
    Waiting waiting(fiber, fd, descriptor, kRead);
    waiting.never_nonblocking();
    waiting.set_deadline(deadline_ns);
    for (;;) {
        RuntimeSection::enter(fiber);
        const bool had = waiting.clear();
        const long answer =
            host::raw_syscall(SYS_epoll_pwait, waiting.fd, events, most, 0, nullptr, 8);
        Step step = Step::kRetry;
        if (answer != 0) {
            if (had) io_restore_ready(waiting.descriptor, kRead);
        } else if (shim::interrupted_since(fiber, mark, false)) {
            step = Step::kInterrupted;  // by a handler that the call's own mask let through
        } else {
            step = waiting.wait(WaitReason::kPoll);
        }
        RuntimeSection::leave(fiber);
        if (answer != 0) return answer;
        switch (step) {
            case Step::kTimedOut:
                return host::raw_syscall(SYS_epoll_pwait, waiting.fd, events, most, 0, nullptr, 8);
            case Step::kInterrupted:
                shim::cancellation_point(fiber);
                if (shim::interrupted_since(fiber, mark, false)) return -EINTR;
                break;
            case Step::kUnpollable:
                return epoll_in_kernel(fiber, waiting.fd, events, most, deadline_ns);
            default:
                break;
        }
    }
}

}  // namespace

}  // namespace pfiber::interpose

using namespace pfiber;
using namespace pfiber::interpose;

extern "C" {

int pf_epoll_pwait(int fd, epoll_event* events, int most, int timeout, const sigset_t* mask) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr)
        return static_cast<int>(
            result(plain_call(SYS_epoll_pwait, fd, events, most, timeout, mask, 8)));
    shim::cancellation_point(fiber);
    if (!can_read_mask(mask)) return static_cast<int>(result(-EFAULT));
    if (mask != nullptr) {  // what is ready comes before a signal that the mask opens
        const long ready = host::raw_syscall(SYS_epoll_wait, fd, events, most, 0);
        if (ready != 0 || timeout == 0) return static_cast<int>(result(ready));
    }
    const shim::InterruptMark mark = shim::interrupt_mark(fiber);
    const shim::MaskGuard guard(fiber, mask);
    if (mask != nullptr && shim::interrupted_since(fiber, mark, false))
        return static_cast<int>(result(-EINTR));
    return static_cast<int>(
        result(epoll_on(fiber, fd, events, most, deadline_of_ms(timeout), mark, mask != nullptr)));
}

int pf_epoll_wait(int fd, epoll_event* events, int most, int timeout) {
    return pf_epoll_pwait(fd, events, most, timeout, nullptr);
}

int pf_epoll_pwait2(int fd, epoll_event* events, int most, const timespec* timeout,
                    const sigset_t* mask) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr)
        return static_cast<int>(
            result(plain_call(SYS_epoll_pwait2, fd, events, most, timeout, mask, 8)));
    shim::cancellation_point(fiber);
    if (!can_read_if_given(timeout) || !can_read_mask(mask))
        return static_cast<int>(result(-EFAULT));
    if (is_bad(timeout)) return static_cast<int>(result(-EINVAL));
    if (mask != nullptr) {  // what is ready comes before a signal that the mask opens
        const long ready = host::raw_syscall(SYS_epoll_wait, fd, events, most, 0);
        if (ready != 0 || (timeout != nullptr && timeout->tv_sec == 0 && timeout->tv_nsec == 0))
            return static_cast<int>(result(ready));
    }
    const shim::InterruptMark mark = shim::interrupt_mark(fiber);
    const shim::MaskGuard guard(fiber, mask);
    if (mask != nullptr && shim::interrupted_since(fiber, mark, false))
        return static_cast<int>(result(-EINTR));
    return static_cast<int>(
        result(epoll_on(fiber, fd, events, most, deadline_of(timeout), mark, mask != nullptr)));
}

}  // extern "C"
