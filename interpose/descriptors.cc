// Numbers: closing, duplicating, flags, and the calls that make descriptors of our own kinds.
//
// D1: a number's state is given up before the kernel frees the number; a call that waits on it goes
// on with a private duplicate, as natively it keeps the file.  D2: numbers that the program did not
// open (the runtime's, private duplicates) are closed for every call of the program.
#include <limits.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "interpose/hooks.h"
#include "interpose/io.h"
#include "interpose/start.h"
#include "scheduler/host/touch.h"
#include "shim/mask.h"
#include "shim/signal.h"
#include "shim/timer_target.h"

namespace pfiber::interpose {

namespace {

// Closing may wait (SO_LINGER, a tape, NFS), so it is a region; no signal ends it.
long close_on(Fiber* fiber, int fd) {
    if (is_hidden(fd)) return -EBADF;
    note_closing(fd);
    if (fiber == nullptr) return host::raw_syscall(SYS_close, fd);
    return disk_call(fiber, PredictedCall(call_key(SYS_close, 0)), SYS_close, fd);
}

// The same description under another number.
long note_duplicate(int from, long to) {
    if (to < 0 || from == to) return to;
    Descriptor* old = descriptor_if_known(from);
    const DescriptorKind kind =
        old != nullptr ? old->kind.load(std::memory_order_relaxed) : DescriptorKind::kUnknown;
    note_opened(to, kind, false);
    note_shared(from);
    note_shared(to);
    return to;
}

// The program may name a number that is the runtime's, if its limit allows the number at all.
bool may_take(int fd) {
    rlimit limit{};
    host::raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit);
    if (static_cast<rlim_t>(fd) >= limit.rlim_cur || is_private_descriptor(fd)) return false;
    OptionalSection section;
    return evade_runtime_descriptor(fd);
}

long duplicate_onto(int from, int to, int flags, long number) {
    if (is_hidden(from)) return -EBADF;
    if (is_hidden(to)) {
        if (from == to || !may_take(to)) return -EBADF;
    }
    if (from == to) return host::raw_syscall(number, from, to, flags);
    // Only a call that will succeed may take the number away from its waiters.
    if (host::raw_syscall(SYS_fcntl, from, F_GETFD) >= 0) note_closing(to);
    return note_duplicate(from, host::raw_syscall(number, from, to, flags));
}

// Between `first` and `last`, around the numbers that the program cannot see.
long close_span(unsigned first, unsigned last, int flags) {
    if (first > last) return -EINVAL;
    const bool closes = (flags & CLOSE_RANGE_CLOEXEC) == 0;
    unsigned begin = first;
    for (;;) {
        // The next hidden number at or after `begin`.
        const long hidden = next_hidden(begin);
        const bool is_inside = hidden >= 0 && hidden <= static_cast<long>(last);
        if (!is_inside || hidden > static_cast<long>(begin)) {
            const unsigned end = is_inside ? static_cast<unsigned>(hidden) - 1 : last;
            if (closes) note_closing_span(begin, end);
            const long answer = host::raw_syscall(SYS_close_range, begin, end, flags);
            if (answer != 0) return answer;
        }
        if (!is_inside || hidden == static_cast<long>(last)) return 0;
        begin = static_cast<unsigned>(hidden) + 1;
    }
}

// The owner may block what the other threads do not.
void watch_owner_signal(int fd, int signal) {
    if (shim::descriptor_target_tid(fd) != 0) shim::watch_signal(signal == 0 ? SIGIO : signal);
}

// A thread's id is told the kernel as the process's (shim/timer_target.h).
long set_owner(int fd, const f_owner_ex* owner) {
    Fiber* target = nullptr;
    if (g_runtime_started && host::can_read(owner) && owner->type == F_OWNER_TID)
        target = fiber_with_tid(static_cast<uint32_t>(owner->pid));
    if (target == nullptr) {
        const long answer = host::raw_syscall(SYS_fcntl, fd, F_SETOWN_EX, owner);
        if (answer == 0) shim::descriptor_target_remove(fd);
        return answer;
    }
    const f_owner_ex process{F_OWNER_PID, host::raw_getpid()};
    const long answer = host::raw_syscall(SYS_fcntl, fd, F_SETOWN_EX, &process);
    if (answer != 0) return answer;
    if (!shim::descriptor_target_add(fd, target)) return -EAGAIN;
    watch_owner_signal(fd, static_cast<int>(host::raw_syscall(SYS_fcntl, fd, F_GETSIG)));
    return 0;
}

long get_owner(int fd, f_owner_ex* owner) {
    const long answer = host::raw_syscall(SYS_fcntl, fd, F_GETOWN_EX, owner);
    const int tid = shim::descriptor_target_tid(fd);
    if (answer != 0 || tid == 0 || owner->type != F_OWNER_PID || owner->pid != host::raw_getpid())
        return answer;
    owner->type = F_OWNER_TID;
    owner->pid = fiber_with_tid(static_cast<uint32_t>(tid)) != nullptr ? tid : 0;
    return answer;
}

long fcntl_on(Fiber* fiber, int fd, int command, long argument) {
    if (is_hidden(fd)) return -EBADF;
    switch (command) {
        case F_DUPFD:
        case F_DUPFD_CLOEXEC:
            return note_duplicate(fd, host::raw_syscall(SYS_fcntl, fd, command, argument));
        case F_GETFL:
        case F_SETFL: {
            // The moment of a connect is not to be seen, nor to swallow what the program sets.
            Descriptor* descriptor = descriptor_if_known(fd);
            if (descriptor == nullptr) return host::raw_syscall(SYS_fcntl, fd, command, argument);
            OptionalSection section;
            LockGuard guard(descriptor->lock);
            descriptor->is_blocking = false;
            return host::raw_syscall(SYS_fcntl, fd, command, argument);
        }
        case F_SETLKW:
        case F_OFD_SETLKW:
            if (fiber != nullptr) {
                shim::cancellation_point(fiber);
                return blocking_call(fiber, Restart::kYes, SYS_fcntl, fd, command, argument);
            }
            return host::raw_syscall(SYS_fcntl, fd, command, argument);
        case F_GETOWN: {
            // The plain command cannot tell a process group from an error.
            f_owner_ex owner{};
            const long answer = get_owner(fd, &owner);
            if (answer < 0) return answer;
            return owner.type == F_OWNER_PGRP ? -owner.pid : owner.pid;
        }
        case F_GETOWN_EX:
            return get_owner(fd, reinterpret_cast<f_owner_ex*>(argument));
        case F_SETOWN:
            shim::descriptor_target_remove(fd);
            return host::raw_syscall(SYS_fcntl, fd, command, argument);
        case F_SETOWN_EX:
            return set_owner(fd, reinterpret_cast<const f_owner_ex*>(argument));
        case F_SETSIG: {
            const long answer = host::raw_syscall(SYS_fcntl, fd, command, argument);
            if (answer == 0) watch_owner_signal(fd, static_cast<int>(argument));
            return answer;
        }
        default:
            return host::raw_syscall(SYS_fcntl, fd, command, argument);
    }
}

long made(long fd, DescriptorKind kind) {
    note_opened(fd, kind, true);
    return fd;
}

}  // namespace

}  // namespace pfiber::interpose

using namespace pfiber;
using namespace pfiber::interpose;

extern "C" {

int pf_close(int fd) {
    Fiber* fiber = calling_fiber();
    if (fiber != nullptr) shim::cancellation_point(fiber);
    return static_cast<int>(result(close_on(fiber, fd)));
}

int pf___close_nocancel(int fd) { return static_cast<int>(result(close_on(calling_fiber(), fd))); }

int pf_close_range(unsigned first, unsigned last, int flags) {
    return static_cast<int>(result(close_span(first, last, flags)));
}

void pf_closefrom(int first) {
    const int saved = errno;
    close_span(first < 0 ? 0u : static_cast<unsigned>(first), UINT_MAX, 0);
    errno = saved;
}

int pf_dup(int fd) {
    if (is_hidden(fd)) return static_cast<int>(result(-EBADF));
    return static_cast<int>(result(note_duplicate(fd, host::raw_syscall(SYS_dup, fd))));
}
int pf_dup2(int from, int to) {
    return static_cast<int>(result(duplicate_onto(from, to, 0, SYS_dup2)));
}
int pf_dup3(int from, int to, int flags) {
    if (from == to || (flags & ~O_CLOEXEC) != 0)
        return static_cast<int>(result(host::raw_syscall(SYS_dup3, from, to, flags)));
    return static_cast<int>(result(duplicate_onto(from, to, flags, SYS_dup3)));
}

int pf_fcntl64(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    const long argument = va_arg(list, long);
    va_end(list);
    return static_cast<int>(result(fcntl_on(calling_fiber(), fd, command, argument)));
}

int pf_ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    const long argument = va_arg(list, long);
    va_end(list);
    if (is_hidden(fd)) return static_cast<int>(result(-EBADF));
    if (request == FIONBIO) {
        Descriptor* descriptor = descriptor_if_known(fd);
        if (descriptor == nullptr)
            return static_cast<int>(result(host::raw_syscall(SYS_ioctl, fd, request, argument)));
        OptionalSection section;
        LockGuard guard(descriptor->lock);
        descriptor->is_blocking = false;
        return static_cast<int>(result(host::raw_syscall(SYS_ioctl, fd, request, argument)));
    }
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr)
        return static_cast<int>(result(host::raw_syscall(SYS_ioctl, fd, request, argument)));
    const shim::NoCancel guard(fiber);
    return static_cast<int>(
        result(predicted_call(fiber, PredictedCall(call_key(SYS_ioctl, request)), Restart::kYes,
                              SYS_ioctl, fd, request, argument)));
}

// ---- stdio and directories give their number back inside libc; there the redirected close sees it

// Where libc is not redirected nobody else sees the number go.  A cancellation point only where
// something is left to be written, as in libc.
int pf_fclose(FILE* file) {
    if (!libc_is_redirected()) note_closing(file->_fileno);
    return real(fclose)(file);
}

// Waits for the child inside libc; no cancellation point.
int pf_pclose(FILE* file) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return real(pclose)(file);
    enter_blocking_call(fiber);
    // A kick before this point is not attended in the call; one from here on is.
    while ((fiber->attention.load() & kAttendSignal) != 0) {
        exit_call(fiber);
        enter_blocking_call(fiber);
    }
    const int answer = real(pclose)(file);
    exit_call(fiber);
    return answer;
}

// ---- descriptors that are waited for

int pf_pipe2(int fds[2], int flags) {
    const long answer = host::raw_syscall(SYS_pipe2, fds, flags);
    if (answer == 0) {
        made(fds[0], DescriptorKind::kPipe);
        made(fds[1], DescriptorKind::kPipe);
    }
    return static_cast<int>(result(answer));
}
int pf_pipe(int fds[2]) { return pf_pipe2(fds, 0); }

int pf_eventfd(unsigned value, int flags) {
    return static_cast<int>(
        result(made(host::raw_syscall(SYS_eventfd2, value, flags), DescriptorKind::kPipe)));
}
int pf_timerfd_create(clockid_t clock, int flags) {
    return static_cast<int>(
        result(made(host::raw_syscall(SYS_timerfd_create, clock, flags), DescriptorKind::kPipe)));
}
int pf_inotify_init1(int flags) {
    return static_cast<int>(
        result(made(host::raw_syscall(SYS_inotify_init1, flags), DescriptorKind::kOther)));
}
int pf_inotify_init() { return pf_inotify_init1(0); }
int pf_epoll_create1(int flags) {
    return static_cast<int>(
        result(made(host::raw_syscall(SYS_epoll_create1, flags), DescriptorKind::kOther)));
}
int pf_epoll_create(int size) {
    if (size <= 0) return static_cast<int>(result(-EINVAL));
    return pf_epoll_create1(0);
}
int pf_epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
    if (is_hidden(epoll) || is_hidden(fd)) return static_cast<int>(result(-EBADF));
    return static_cast<int>(result(host::raw_syscall(SYS_epoll_ctl, epoll, operation, fd, event)));
}
int pf_signalfd(int fd, const sigset_t* mask, int flags) {
    if (fd >= 0 && is_hidden(fd)) return static_cast<int>(result(-EBADF));
    const long answer = host::raw_syscall(SYS_signalfd4, fd, mask, 8, flags);
    if (answer >= 0 && calling_fiber() != nullptr) shim::kernel_keeps_pending(shim::mask_of(mask));
    return static_cast<int>(result(fd == -1 ? made(answer, DescriptorKind::kOther) : answer));
}
int pf_memfd_create(const char* name, unsigned flags) {
    return static_cast<int>(
        result(made(host::raw_syscall(SYS_memfd_create, name, flags), DescriptorKind::kRegular)));
}

int pf_fstat(int fd, struct stat* status) {
    if (is_hidden(fd)) return static_cast<int>(result(-EBADF));
    return static_cast<int>(result(host::raw_syscall(SYS_fstat, fd, status)));
}

}  // extern "C"
