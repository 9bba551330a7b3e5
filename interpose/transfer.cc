// read, write and their vector and positioned forms.
//
// Sockets go to recv and send with MSG_DONTWAIT; pipes and event descriptors are tried with
// RWF_NOWAIT; what refuses that is polled first; files stay in a region (MAYBE).  A cached kind may
// be stale (a number closed and reused where no hook saw it): the kernel's refusal corrects it.
#include "interpose/transfer.h"

#include "interpose/thread_files.h"

#include <limits.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include "interpose/hooks.h"
#include "shim/mask.h"
#include "shim/signal.h"

namespace pfiber::interpose {

namespace {

// preadv2/pwritev2 at the file's own position.
long vector_nowait(long number, int fd, const iovec* vector, size_t count) {
    return host::raw_syscall(number, fd, vector, count, -1L, -1L, RWF_NOWAIT);
}

// Linux 6.18: the signal would land in the runtime; there it cannot be told from one for the
// process.
constexpr int kRwfNoSignal = 0x100;
std::atomic<int> no_signal_flag{kRwfNoSignal};

// A write that does not wait; *is_silent: EPIPE came without its signal.
long write_nowait(int fd, const iovec* vector, size_t count, bool* is_silent) {
    const int flag = no_signal_flag.load(std::memory_order_relaxed);
    const long answer =
        host::raw_syscall(SYS_pwritev2, fd, vector, count, -1L, -1L, RWF_NOWAIT | flag);
    *is_silent = answer == -EPIPE && flag != 0;
    if (answer != -EOPNOTSUPP || flag == 0) return answer;
    const long plain = vector_nowait(SYS_pwritev2, fd, vector, count);
    if (plain != -EOPNOTSUPP) no_signal_flag.store(0, std::memory_order_relaxed);
    return plain;
}

bool refuses_nowait(Descriptor* descriptor, uint8_t direction, long answer) {
    // EPERM: of a seccomp filter that does not know the call; no read or write of a pipe says so.
    if (answer != -EOPNOTSUPP && answer != -ENOSYS && answer != -EPERM) return false;
    descriptor->no_nowait = static_cast<uint8_t>(descriptor->no_nowait | direction);
    return true;
}

long pipe_read(Fiber* fiber, Descriptor* descriptor, int fd, const iovec* vector, size_t count) {
    Waiting waiting(fiber, fd, descriptor, kRead);
    const auto region = [&](int number) {
        classify(waiting.descriptor, number);
        return maybe_call(fiber, Restart::kYes, SYS_readv, number, vector, count);
    };
    if (may_try_nowait(descriptor, kRead)) {
        const long answer = ready_call(
            fiber, waiting,
            [&](int number) { return vector_nowait(SYS_preadv2, number, vector, count); }, region);
        if (!refuses_nowait(waiting.descriptor, kRead, answer)) return answer;
    }
    return polled_call(
        fiber, waiting, POLLIN,
        [&](int number) { return host::raw_syscall(SYS_readv, number, vector, count); }, region);
}

// One system call from byte `done` on, at most `limit` bytes of a single element when it is not 0.
template <class Call>
long write_from(const iovec* vector, size_t count, long done, size_t limit, Call&& call) {
    const VectorPosition at(vector, count, static_cast<size_t>(done));
    if (at.index >= count) return call(vector, 0);
    if (at.offset == 0 && (limit == 0 || (done == 0 && total_bytes(vector, count) <= PIPE_BUF)))
        return call(vector + at.index, count - at.index);
    iovec rest{static_cast<char*>(vector[at.index].iov_base) + at.offset,
               vector[at.index].iov_len - at.offset};
    if (limit != 0 && rest.iov_len > limit) rest.iov_len = limit;
    return call(&rest, 1);
}

// A pipe that knows no RWF_NOWAIT has room for PIPE_BUF bytes when poll says so.
long pipe_write_polled(Fiber* fiber, Waiting& waiting, const iovec* vector, size_t count) {
    const long wanted = total_bytes(vector, count);
    long done = 0;
    do {
        const long answer = polled_call(
            fiber, waiting, POLLOUT,
            [&](int number) {
                return write_from(vector, count, done, 0, [&](const iovec* from, size_t left) {
                    return host::raw_syscall(SYS_writev, number, from, left);
                });
            },
            [&](int number) {
                return write_from(
                    vector, count, done, PIPE_BUF, [&](const iovec* from, size_t left) {
                        return maybe_call(fiber, Restart::kYes, SYS_writev, number, from, left);
                    });
            });
        if (answer <= 0) return done > 0 ? done : answer;
        done += answer;
        // Non-blocking descriptors stop where they stop.
        RuntimeSection::enter(fiber);
        const bool stops = done < wanted && is_nonblocking(waiting.descriptor, waiting.fd);
        RuntimeSection::leave(fiber);
        if (stops) break;
    } while (done < wanted);
    return done;
}

long pipe_write(Fiber* fiber, Descriptor* descriptor, int fd, const iovec* vector, size_t count) {
    Waiting waiting(fiber, fd, descriptor, kWrite);
    if (may_try_nowait(descriptor, kWrite)) {
        bool is_silent = false;
        const long answer = send_all(
            fiber, waiting, false,
            [&](int number, long done) {
                return write_from(vector, count, done, 0, [&](const iovec* from, size_t left) {
                    return write_nowait(number, from, left, &is_silent);
                });
            },
            [&](int number, long done) {
                classify(waiting.descriptor, number);
                return write_from(vector, count, done, 0, [&](const iovec* from, size_t left) {
                    return maybe_call(fiber, Restart::kYes, SYS_writev, number, from, left);
                });
            },
            [&] { return total_bytes(vector, count); });
        if (is_silent) raise_broken_pipe(fiber);
        if (!refuses_nowait(waiting.descriptor, kWrite, answer)) return answer;
    }
    return pipe_write_polled(fiber, waiting, vector, count);
}

// Whether a read of a terminal that has nothing is more than to wait for input: a time limit or a
// number of bytes (termios(3), VMIN and VTIME), or SIGTTIN for a reader in the background.
bool is_special_terminal(int fd) {
    termios modes{};  // the kernel fills the first part of libc's
    if (host::raw_syscall(SYS_ioctl, fd, TCGETS, &modes) != 0) return false;
    if ((modes.c_lflag & ICANON) == 0 && (modes.c_cc[VTIME] != 0 || modes.c_cc[VMIN] != 1))
        return true;
    int foreground = 0;
    return host::raw_syscall(SYS_ioctl, fd, TIOCGPGRP, &foreground) == 0 &&
           foreground != host::raw_syscall(SYS_getpgid, 0);
}

// A read that waits while the other end of a pseudo-terminal is closed says EIO; one that begins
// after that, end of file.
bool has_lost_master(int fd) {
    constexpr unsigned kFirstSlave = 136, kLastSlave = 143;
    struct stat status;
    if (host::raw_syscall(SYS_fstat, fd, &status) != 0) return false;
    const unsigned device = major(status.st_rdev);
    return device >= kFirstSlave && device <= kLastSlave && (poll_now(fd, POLLIN) & POLLHUP) != 0;
}

// Terminals and the like.
long other_transfer(Fiber* fiber, Descriptor* descriptor, int fd, uint8_t direction, long number,
                    const void* data, size_t size) {
    const bool was_empty = direction == kRead && poll_now(fd, POLLIN) == 0;
    if (was_empty && is_special_terminal(fd))
        return blocking_call(fiber, Restart::kYes, number, fd, data, size);
    Waiting waiting(fiber, fd, descriptor, direction);
    const long answer = polled_call(
        fiber, waiting, direction == kRead ? POLLIN : POLLOUT,
        [&](int f) { return host::raw_syscall(number, f, data, size); },
        [&](int f) { return maybe_call(fiber, Restart::kYes, number, f, data, size); });
    return was_empty && answer == 0 && has_lost_master(waiting.fd) ? -EIO : answer;
}

long not_open(int fd, long number, const void* data, size_t size) {
    return is_hidden(fd) ? -EBADF : host::raw_syscall(number, fd, data, size);
}

long read_on(Fiber* fiber, int fd, void* data, size_t size) {
    Descriptor* descriptor = descriptor_of(fd);
    if (descriptor == nullptr) return host::raw_syscall(SYS_read, fd, data, size);
    for (;;) {
        switch (kind_of(descriptor, fd)) {
            case DescriptorKind::kSocket: {
                // Reading nothing from a socket is nothing; receiving nothing waits.
                if (size == 0) return host::raw_syscall(SYS_read, fd, data, size);
                const long answer = receive_bytes(fiber, fd, data, size, 0, nullptr, nullptr);
                if (answer != -ENOTSOCK) return answer;
                classify(descriptor, fd);
                continue;
            }
            case DescriptorKind::kPipe: {
                if (size == 0) return host::raw_syscall(SYS_read, fd, data, size);
                const iovec one{data, size};
                return pipe_read(fiber, descriptor, fd, &one, 1);
            }
            case DescriptorKind::kRegular:
                return predicted_call(fiber, predict_read(SYS_read, fd, -1, size), Restart::kYes,
                                      SYS_read, fd, data, size);
            case DescriptorKind::kOther:
                return other_transfer(fiber, descriptor, fd, kRead, SYS_read, data, size);
            case DescriptorKind::kUnknown:
                return not_open(fd, SYS_read, data, size);
        }
    }
}

long write_on(Fiber* fiber, int fd, const void* data, size_t size) {
    Descriptor* descriptor = descriptor_of(fd);
    if (descriptor == nullptr) return host::raw_syscall(SYS_write, fd, data, size);
    for (;;) {
        switch (kind_of(descriptor, fd)) {
            case DescriptorKind::kSocket: {
                // write(2) ends a record on sockets that have them.
                const int flags = socket_type_of(descriptor, fd) == SOCK_SEQPACKET ? MSG_EOR : 0;
                const long answer = send_bytes(fiber, fd, data, size, flags, nullptr, 0);
                if (answer != -ENOTSOCK) return answer;
                classify(descriptor, fd);
                continue;
            }
            case DescriptorKind::kPipe: {
                if (size == 0) return host::raw_syscall(SYS_write, fd, data, size);
                const iovec one{const_cast<void*>(data), size};
                return pipe_write(fiber, descriptor, fd, &one, 1);
            }
            case DescriptorKind::kRegular:
                if (__builtin_expect(descriptor->thread_entry != 0, 0)) {
                    const iovec one{const_cast<void*>(data), size};
                    return write_thread_name(descriptor->thread_entry, &one, 1);
                }
                return predicted_call(fiber, PredictedCall(file_key(SYS_write, fd)), Restart::kYes,
                                      SYS_write, fd, data, size);
            case DescriptorKind::kOther:
                return other_transfer(fiber, descriptor, fd, kWrite, SYS_write, data, size);
            case DescriptorKind::kUnknown:
                return not_open(fd, SYS_write, data, size);
        }
    }
}

// What the kernel does not refuse at once.
bool is_vector(const iovec* vector, int count) {
    return count > 0 && count <= IOV_MAX &&
           can_read(vector, static_cast<size_t>(count) * sizeof *vector);
}

long readv_on(Fiber* fiber, int fd, const iovec* vector, int count) {
    Descriptor* descriptor = descriptor_of(fd);
    if (descriptor == nullptr || !is_vector(vector, count))
        return host::raw_syscall(SYS_readv, fd, vector, count);
    for (;;) {
        switch (kind_of(descriptor, fd)) {
            case DescriptorKind::kSocket: {
                if (total_bytes(vector, static_cast<size_t>(count)) == 0)
                    return host::raw_syscall(SYS_readv, fd, vector, count);
                msghdr message{};
                message.msg_iov = const_cast<iovec*>(vector);
                message.msg_iovlen = static_cast<size_t>(count);
                const long answer = receive_message(fiber, fd, &message, 0);
                if (answer != -ENOTSOCK) return answer;
                classify(descriptor, fd);
                continue;
            }
            case DescriptorKind::kPipe:
                return pipe_read(fiber, descriptor, fd, vector, static_cast<size_t>(count));
            case DescriptorKind::kRegular:
                // Its beginning only: a bad vector is the kernel's to refuse.
                return predicted_call(fiber, predict_read(SYS_readv, fd, -1, 1), Restart::kYes,
                                      SYS_readv, fd, vector, count);
            case DescriptorKind::kOther:
                return other_transfer(fiber, descriptor, fd, kRead, SYS_readv, vector,
                                      static_cast<size_t>(count));
            case DescriptorKind::kUnknown:
                return not_open(fd, SYS_readv, vector, static_cast<size_t>(count));
        }
    }
}

long writev_on(Fiber* fiber, int fd, const iovec* vector, int count) {
    Descriptor* descriptor = descriptor_of(fd);
    if (descriptor == nullptr || !is_vector(vector, count))
        return host::raw_syscall(SYS_writev, fd, vector, count);
    for (;;) {
        switch (kind_of(descriptor, fd)) {
            case DescriptorKind::kSocket: {
                if (total_bytes(vector, static_cast<size_t>(count)) == 0)
                    return host::raw_syscall(SYS_writev, fd, vector, count);
                msghdr message{};
                message.msg_iov = const_cast<iovec*>(vector);
                message.msg_iovlen = static_cast<size_t>(count);
                const int flags = socket_type_of(descriptor, fd) == SOCK_SEQPACKET ? MSG_EOR : 0;
                const long answer = send_message(fiber, fd, &message, flags);
                if (answer != -ENOTSOCK) return answer;
                classify(descriptor, fd);
                continue;
            }
            case DescriptorKind::kPipe:
                return pipe_write(fiber, descriptor, fd, vector, static_cast<size_t>(count));
            case DescriptorKind::kRegular:
                if (__builtin_expect(descriptor->thread_entry != 0, 0))
                    return write_thread_name(descriptor->thread_entry, vector, count);
                return predicted_call(fiber, PredictedCall(file_key(SYS_writev, fd)), Restart::kYes,
                                      SYS_writev, fd, vector, count);
            case DescriptorKind::kOther:
                return other_transfer(fiber, descriptor, fd, kWrite, SYS_writev, vector,
                                      static_cast<size_t>(count));
            case DescriptorKind::kUnknown:
                return not_open(fd, SYS_writev, vector, static_cast<size_t>(count));
        }
    }
}

}  // namespace

void raise_broken_pipe(Fiber* fiber) {
    siginfo_t info{};
    info.si_signo = SIGPIPE;
    info.si_code = SI_USER;
    info.si_pid = host::raw_getpid();
    info.si_uid = static_cast<uid_t>(host::raw_syscall(SYS_getuid));
    RuntimeSection::enter(fiber);
    shim::send_to_fiber(fiber, SIGPIPE, &info);
    RuntimeSection::leave(fiber);  // its handler runs here
}

}  // namespace pfiber::interpose

using namespace pfiber;
using namespace pfiber::interpose;

extern "C" {

ssize_t pf_read(int fd, void* data, size_t size) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(plain_call(SYS_read, fd, data, size));
    shim::cancellation_point(fiber);
    return result(read_on(fiber, fd, data, size));
}

ssize_t pf_write(int fd, const void* data, size_t size) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(plain_call(SYS_write, fd, data, size));
    shim::cancellation_point(fiber);
    return result(write_on(fiber, fd, data, size));
}

// libc's own I/O that must not be cancelled (closing FILEs, locale files, the resolver's state).
ssize_t pf___read_nocancel(int fd, void* data, size_t size) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(host::raw_syscall(SYS_read, fd, data, size));
    const shim::NoCancel guard(fiber);
    return result(read_on(fiber, fd, data, size));
}
ssize_t pf___write_nocancel(int fd, const void* data, size_t size) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(host::raw_syscall(SYS_write, fd, data, size));
    const shim::NoCancel guard(fiber);
    return result(write_on(fiber, fd, data, size));
}
ssize_t pf___pread64_nocancel(int fd, void* data, size_t size, off64_t offset) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(host::raw_syscall(SYS_pread64, fd, data, size, offset));
    const PredictedCall call = predict_read(SYS_pread64, fd, offset, size);
    return result(disk_call(fiber, call, SYS_pread64, fd, data, size, offset));
}

ssize_t pf_readv(int fd, const iovec* vector, int count) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(plain_call(SYS_readv, fd, vector, count));
    shim::cancellation_point(fiber);
    return result(readv_on(fiber, fd, vector, count));
}

ssize_t pf_writev(int fd, const iovec* vector, int count) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(plain_call(SYS_writev, fd, vector, count));
    shim::cancellation_point(fiber);
    return result(writev_on(fiber, fd, vector, count));
}

// A position means a file: these never wait for a peer.
ssize_t pf_pread64(int fd, void* data, size_t size, off64_t offset) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(plain_call(SYS_pread64, fd, data, size, offset));
    shim::cancellation_point(fiber);
    const PredictedCall call = predict_read(SYS_pread64, fd, offset, size);
    return result(predicted_call(fiber, call, Restart::kYes, SYS_pread64, fd, data, size, offset));
}
ssize_t pf_pwrite64(int fd, const void* data, size_t size, off64_t offset) {
    return cancellable_fd_call(SYS_pwrite64, fd, data, size, offset);
}
ssize_t pf_preadv64(int fd, const iovec* vector, int count, off64_t offset) {
    return cancellable_fd_call(SYS_preadv, fd, vector, count, offset, 0L);
}
ssize_t pf_pwritev64(int fd, const iovec* vector, int count, off64_t offset) {
    return cancellable_fd_call(SYS_pwritev, fd, vector, count, offset, 0L);
}
ssize_t pf_preadv64v2(int fd, const iovec* vector, int count, off64_t offset, int flags) {
    if (offset == -1 && flags == 0) return pf_readv(fd, vector, count);
    return cancellable_fd_call(SYS_preadv2, fd, vector, count, offset, 0L, flags);
}
ssize_t pf_pwritev64v2(int fd, const iovec* vector, int count, off64_t offset, int flags) {
    if (offset == -1 && flags == 0) return pf_writev(fd, vector, count);
    return cancellable_fd_call(SYS_pwritev2, fd, vector, count, offset, 0L, flags);
}

ssize_t pf___read_chk(int fd, void* data, size_t size, size_t room) {
    if (size > room) __chk_fail();
    return pf_read(fd, data, size);
}
ssize_t pf___pread64_chk(int fd, void* data, size_t size, off64_t offset, size_t room) {
    if (size > room) __chk_fail();
    return pf_pread64(fd, data, size, offset);
}

int pf_eventfd_read(int fd, eventfd_t* value) {
    return pf_read(fd, value, sizeof *value) == sizeof *value ? 0 : -1;
}
int pf_eventfd_write(int fd, eventfd_t value) {
    return pf_write(fd, &value, sizeof value) == sizeof value ? 0 : -1;
}

}  // extern "C"
