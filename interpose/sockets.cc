// recv, send and their forms: tried with MSG_DONTWAIT, which touches nobody's O_NONBLOCK.
#include <poll.h>
#include <sys/un.h>

#include "interpose/hooks.h"
#include "interpose/transfer.h"

namespace pfiber::interpose {

namespace {

// These never wait, whatever the mode of the descriptor.
constexpr int kRawReceive = MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB;

long raw_receive(int fd, void* data, size_t size, int flags, sockaddr* address, socklen_t* length) {
    return host::raw_syscall(SYS_recvfrom, fd, data, size, flags, address, length);
}

// One try.  A socket of datagrams that was shut down answers 0 to a call that may wait, at once,
// and EAGAIN to one that may not.
template <class Receive>
long try_receive(const Waiting& waiting, int flags, Receive&& receive) {
    const long answer = receive(flags | MSG_DONTWAIT);
    if (__builtin_expect(answer == -EAGAIN && waiting.descriptor->has_hung_up, 0) &&
        (poll_now(waiting.fd, POLLRDHUP) & (POLLRDHUP | POLLHUP)) != 0)
        return receive(flags);
    return answer;
}

// MSG_WAITALL waits on byte streams only; a look at what a UNIX socket has waits for the first
// byte.
bool waits_for_all(Descriptor* descriptor, int fd, int flags) {
    return (flags & MSG_WAITALL) != 0 && socket_type_of(descriptor, fd) == SOCK_STREAM &&
           ((flags & MSG_PEEK) == 0 || socket_family_of(descriptor, fd) != AF_UNIX);
}

// A stream at its end or in error delivers no more than it has.
bool is_stream_over(int fd) {
    return (poll_now(fd, POLLRDHUP) & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

// Receives until `wanted()` bytes are there.  attempt(fd, done) tries without blocking.
template <class Attempt, class Wanted>
long receive_all(Fiber* fiber, Waiting& waiting, bool peeks, Attempt&& attempt, Wanted&& wanted) {
    long done = 0;
    for (;;) {
        RuntimeSection::enter(fiber);
        const bool had = waiting.clear();
        const bool is_over = done > 0 && is_stream_over(waiting.fd);
        const long answer = attempt(waiting.fd, peeks ? 0 : done);
        if (peeks && answer > 0) done = 0;
        const bool is_enough = answer == 0 || (answer < 0 && answer != -EAGAIN) ||
                               (answer > 0 && done + answer >= wanted());
        if (answer > 0) done += answer;
        if (is_enough || is_over) {
            waiting.restore(had, answer);
            RuntimeSection::leave(fiber);
            return answer >= 0 || done > 0 ? done : answer;
        }
        if (answer > 0 && !peeks) {
            // Perhaps there is more: only EAGAIN proves the opposite.
            waiting.restore(had, answer);
            RuntimeSection::leave(fiber);
            continue;
        }
        const Step step =
            peeks && answer > 0 && is_stream_over(waiting.fd) ? Step::kTimedOut : waiting.wait();
        RuntimeSection::leave(fiber);
        switch (step) {
            case Step::kRetry:
                break;
            case Step::kTimedOut:
            case Step::kNonBlocking:
            case Step::kUnpollable:
                return done > 0 ? done : -EAGAIN;
            case Step::kInterrupted:
                if (waiting.interrupted(done > 0 || waiting.is_timed() ? Restart::kNo
                                                                       : Restart::kYes))
                    return done > 0 ? done : -EINTR;
                break;
        }
    }
}

// A plain receive of `asked` bytes into one buffer.
struct ReceiveDrains {
    long asked;
    bool is_plain;
    bool at_start(const Waiting& waiting) const { return is_plain && waiting.is_drained(); }
    bool after(const Waiting& waiting, long answer) const {
        return is_plain && answer > 0 && answer < asked &&
               short_read_drains(waiting.descriptor, waiting.fd);
    }
};

// What the kernel does not refuse at once.
bool is_message(const msghdr* message) {
    constexpr size_t kMostElements = 1024;  // UIO_MAXIOV
    return can_read(message) && message->msg_iovlen <= kMostElements &&
           can_read(message->msg_iov, message->msg_iovlen * sizeof(iovec));
}

// Passed descriptors: both ends know the description from now on.
template <class Visit>
void for_each_passed(const msghdr* message, Visit&& visit) {
    if (message->msg_control == nullptr || message->msg_controllen < sizeof(cmsghdr)) return;
    auto* mutable_message = const_cast<msghdr*>(message);
    for (cmsghdr* c = CMSG_FIRSTHDR(mutable_message); c != nullptr;
         c = CMSG_NXTHDR(mutable_message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        const auto* passed = reinterpret_cast<const int*>(CMSG_DATA(c));
        const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) visit(passed[i]);
    }
}

void note_received(const msghdr* message) {
    for_each_passed(message, [](int fd) {
        note_opened(fd, DescriptorKind::kUnknown, false);
        note_shared(fd);
    });
}

long raw_send_message(int fd, const msghdr* message, int flags, long done) {
    if (done == 0) return host::raw_syscall(SYS_sendmsg, fd, message, flags);
    // The rest of a stream: no control data twice.
    const VectorPosition at(message->msg_iov, message->msg_iovlen, static_cast<size_t>(done));
    const iovec* element = message->msg_iov + at.index;
    if (at.offset != 0)
        return host::raw_syscall(SYS_sendto, fd,
                                 static_cast<const char*>(element->iov_base) + at.offset,
                                 element->iov_len - at.offset, flags, nullptr, 0);
    msghdr rest{};
    rest.msg_iov = message->msg_iov + at.index;
    rest.msg_iovlen = message->msg_iovlen - at.index;
    return host::raw_syscall(SYS_sendmsg, fd, &rest, flags);
}

// Streams raise SIGPIPE when they are broken, unless asked not to; ours are sent with MSG_NOSIGNAL.
long settle(Fiber* fiber, Descriptor* descriptor, int fd, int flags, long answer) {
    if (__builtin_expect(answer == -EPIPE, 0) && (flags & MSG_NOSIGNAL) == 0 &&
        socket_type_of(descriptor, fd) == SOCK_STREAM)
        raise_broken_pipe(fiber);
    return answer;
}

// The queue of an AF_UNIX datagram socket that is not our peer raises no edge when it drains.
bool has_no_edge(Descriptor* descriptor, int fd, const void* address) {
    return address != nullptr && socket_type_of(descriptor, fd) == SOCK_DGRAM &&
           socket_family_of(descriptor, fd) == AF_UNIX;
}

}  // namespace

long receive_bytes(Fiber* fiber, int fd, void* data, size_t size, int flags, sockaddr* address,
                   socklen_t* length) {
    Descriptor* descriptor = descriptor_of(fd);
    if (descriptor == nullptr || (flags & kRawReceive) != 0) {
        if ((flags & MSG_OOB) != 0) forget_short_reads(fd);
        return raw_receive(fd, data, size, flags, address, length);
    }
    Waiting waiting(fiber, fd, descriptor, kRead);
    const auto region = [&](int number) {
        return maybe_call(fiber, Restart::kYes, SYS_recvfrom, number, data, size, flags, address,
                          length);
    };
    if (__builtin_expect(waits_for_all(descriptor, fd, flags), 0)) {
        return receive_all(
            fiber, waiting, (flags & MSG_PEEK) != 0,
            [&](int number, long done) {
                return raw_receive(number, static_cast<char*>(data) + done,
                                   size - static_cast<size_t>(done), flags | MSG_DONTWAIT, address,
                                   length);
            },
            [&] { return static_cast<long>(size > kMostBytes ? kMostBytes : size); });
    }
    return ready_call(
        fiber, waiting,
        [&](int number) {
            return try_receive(waiting, flags, [&](int mode) {
                return raw_receive(number, data, size, mode, address, length);
            });
        },
        region, WaitReason::kIo, ReceiveDrains{static_cast<long>(size), flags == 0 && size != 0});
}

long receive_message(Fiber* fiber, int fd, msghdr* message, int flags) {
    Descriptor* descriptor = descriptor_of(fd);
    if (descriptor == nullptr || !is_message(message) || (flags & kRawReceive) != 0) {
        if ((flags & MSG_OOB) != 0) forget_short_reads(fd);
        return host::raw_syscall(SYS_recvmsg, fd, message, flags);
    }
    Waiting waiting(fiber, fd, descriptor, kRead);
    if (__builtin_expect(waits_for_all(descriptor, fd, flags), 0)) {
        // The kernel overwrites the lengths at each try; descriptors end a message.
        const msghdr asked = *message;
        bool has_control = false;
        return receive_all(
            fiber, waiting, (flags & MSG_PEEK) != 0,
            [&](int number, long done) {
                const VectorPosition at(asked.msg_iov, asked.msg_iovlen, static_cast<size_t>(done));
                msghdr part = asked;
                iovec rest{};
                part.msg_iov += at.index;
                part.msg_iovlen -= at.index;
                if (at.offset != 0) {
                    rest.iov_base = static_cast<char*>(part.msg_iov->iov_base) + at.offset;
                    rest.iov_len = part.msg_iov->iov_len - at.offset;
                    part.msg_iov = &rest;
                    part.msg_iovlen = 1;
                }
                const long answer =
                    host::raw_syscall(SYS_recvmsg, number, &part, flags | MSG_DONTWAIT);
                if (answer < 0) return answer;
                has_control = part.msg_controllen != 0;
                message->msg_namelen = part.msg_namelen;
                message->msg_controllen = part.msg_controllen;
                message->msg_flags = part.msg_flags & ~MSG_DONTWAIT;
                return answer;
            },
            [&] { return has_control ? 0 : total_bytes(asked.msg_iov, asked.msg_iovlen); });
    }
    return ready_call(
        fiber, waiting,
        [&](int number) {
            return try_receive(waiting, flags, [&](int mode) {
                return host::raw_syscall(SYS_recvmsg, number, message, mode);
            });
        },
        [&](int number) {
            return maybe_call(fiber, Restart::kYes, SYS_recvmsg, number, message, flags);
        });
}

long send_bytes(Fiber* fiber, int fd, const void* data, size_t size, int flags,
                const sockaddr* address, socklen_t length) {
    Descriptor* descriptor = descriptor_of(fd);
    if (descriptor == nullptr || (flags & MSG_DONTWAIT) != 0)
        return host::raw_syscall(SYS_sendto, fd, data, size, flags, address, length);
    const auto region = [&](int number, long done) {
        return maybe_call(fiber, Restart::kYes, SYS_sendto, number,
                          static_cast<const char*>(data) + done, size - static_cast<size_t>(done),
                          flags, address, length);
    };
    if (__builtin_expect(has_no_edge(descriptor, fd, address), 0)) {
        const long answer =
            host::raw_syscall(SYS_sendto, fd, data, size, flags | MSG_DONTWAIT, address, length);
        if (answer != -EAGAIN) return answer;
        return blocking_call(fiber, Restart::kYes, SYS_sendto, fd, data, size, flags, address,
                             length);
    }
    Waiting waiting(fiber, fd, descriptor, kWrite);
    const long answer = send_all(
        fiber, waiting, true,
        [&](int number, long done) {
            return host::raw_syscall(SYS_sendto, number, static_cast<const char*>(data) + done,
                                     size - static_cast<size_t>(done),
                                     flags | MSG_DONTWAIT | MSG_NOSIGNAL, address, length);
        },
        region, [&] { return static_cast<long>(size > kMostBytes ? kMostBytes : size); });
    return settle(fiber, waiting.descriptor, waiting.fd, flags, answer);
}

long send_message(Fiber* fiber, int fd, const msghdr* message, int flags) {
    Descriptor* descriptor = descriptor_of(fd);
    if (descriptor == nullptr || !is_message(message) || (flags & MSG_DONTWAIT) != 0)
        return host::raw_syscall(SYS_sendmsg, fd, message, flags);
    if (__builtin_expect(has_no_edge(descriptor, fd, message->msg_name), 0)) {
        const long answer = host::raw_syscall(SYS_sendmsg, fd, message, flags | MSG_DONTWAIT);
        if (answer != -EAGAIN) return answer;
        return blocking_call(fiber, Restart::kYes, SYS_sendmsg, fd, message, flags);
    }
    Waiting waiting(fiber, fd, descriptor, kWrite);
    const long answer = send_all(
        fiber, waiting, true,
        [&](int number, long done) {
            return raw_send_message(number, message, flags | MSG_DONTWAIT | MSG_NOSIGNAL, done);
        },
        [&](int number, long done) {
            if (done > 0) return done;  // what is left waits for nobody
            return maybe_call(fiber, Restart::kYes, SYS_sendmsg, number, message, flags);
        },
        [&] { return total_bytes(message->msg_iov, message->msg_iovlen); });
    return settle(fiber, waiting.descriptor, waiting.fd, flags, answer);
}

namespace {

long receive_many(Fiber* fiber, int fd, mmsghdr* messages, unsigned count, int flags,
                  const timespec* timeout) {
    // The kernel looks at the timeout after each message only (a bug that became the interface).
    const int64_t deadline = timeout == nullptr ? kNever : deadline_after(nanoseconds(timeout));
    const bool waits_for_one = (flags & MSG_WAITFORONE) != 0;
    const int each = flags & ~MSG_WAITFORONE;
    unsigned done = 0;
    while (done < count) {
        const int mode = each | (waits_for_one && done > 0 ? MSG_DONTWAIT : 0);
        const long answer = can_write(&messages[done], sizeof *messages)
                                ? receive_message(fiber, fd, &messages[done].msg_hdr, mode)
                                : -EFAULT;
        if (answer < 0) return done > 0 ? static_cast<long>(done) : answer;
        messages[done].msg_len = static_cast<unsigned>(answer);
        note_received(&messages[done].msg_hdr);
        done++;
        if (deadline != kNever && Platform::now_ns() >= deadline) break;
        if ((messages[done - 1].msg_hdr.msg_flags & MSG_OOB) != 0) break;
    }
    return static_cast<long>(done);
}

long send_many(Fiber* fiber, int fd, mmsghdr* messages, unsigned count, int flags) {
    unsigned done = 0;
    while (done < count) {
        const long answer = can_write(&messages[done], sizeof *messages)
                                ? send_message(fiber, fd, &messages[done].msg_hdr, flags)
                                : -EFAULT;
        if (answer < 0) return done > 0 ? static_cast<long>(done) : answer;
        messages[done].msg_len = static_cast<unsigned>(answer);
        done++;
    }
    return static_cast<long>(done);
}

}  // namespace

}  // namespace pfiber::interpose

using namespace pfiber;
using namespace pfiber::interpose;

extern "C" {

ssize_t pf_recvfrom(int fd, void* data, size_t size, int flags, sockaddr* address,
                    socklen_t* length) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr)
        return result(plain_call(SYS_recvfrom, fd, data, size, flags, address, length));
    shim::cancellation_point(fiber);
    return result(receive_bytes(fiber, fd, data, size, flags, address, length));
}

ssize_t pf_recv(int fd, void* data, size_t size, int flags) {
    return pf_recvfrom(fd, data, size, flags, nullptr, nullptr);
}

ssize_t pf_recvmsg(int fd, msghdr* message, int flags) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) {
        const long answer = plain_call(SYS_recvmsg, fd, message, flags);
        if (answer >= 0 && g_runtime_started) note_received(message);
        return result(answer);
    }
    shim::cancellation_point(fiber);
    const long answer = receive_message(fiber, fd, message, flags);
    if (answer >= 0) note_received(message);
    return result(answer);
}

int pf_recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr)
        return static_cast<int>(
            result(plain_call(SYS_recvmmsg, fd, messages, count, flags, timeout)));
    shim::cancellation_point(fiber);
    if (!can_read_if_given(timeout)) return static_cast<int>(result(-EFAULT));
    if (timeout != nullptr && (!is_valid(timeout) || timeout->tv_sec < 0))
        return static_cast<int>(result(-EINVAL));
    constexpr unsigned kMost = 1024;  // UIO_MAXIOV
    const int64_t start = Platform::now_ns();
    const long answer =
        receive_many(fiber, fd, messages, count > kMost ? kMost : count, flags, timeout);
    if (timeout != nullptr && answer > 0)
        *timeout = to_timespec(nanoseconds(timeout) - (Platform::now_ns() - start));
    return static_cast<int>(result(answer));
}

ssize_t pf_sendto(int fd, const void* data, size_t size, int flags, const sockaddr* address,
                  socklen_t length) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr)
        return result(plain_call(SYS_sendto, fd, data, size, flags, address, length));
    shim::cancellation_point(fiber);
    return result(send_bytes(fiber, fd, data, size, flags, address, length));
}

ssize_t pf_send(int fd, const void* data, size_t size, int flags) {
    return pf_sendto(fd, data, size, flags, nullptr, 0);
}

ssize_t pf_sendmsg(int fd, const msghdr* message, int flags) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(plain_call(SYS_sendmsg, fd, message, flags));
    shim::cancellation_point(fiber);
    const long answer = send_message(fiber, fd, message, flags);
    if (answer >= 0) for_each_passed(message, [](int passed) { note_shared(passed); });
    return result(answer);
}

int pf_sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr)
        return static_cast<int>(result(plain_call(SYS_sendmmsg, fd, messages, count, flags)));
    shim::cancellation_point(fiber);
    constexpr unsigned kMost = 1024;  // UIO_MAXIOV
    return static_cast<int>(
        result(send_many(fiber, fd, messages, count > kMost ? kMost : count, flags)));
}

ssize_t pf___recv_chk(int fd, void* data, size_t size, size_t room, int flags) {
    if (size > room) __chk_fail();
    return pf_recv(fd, data, size, flags);
}
ssize_t pf___recvfrom_chk(int fd, void* data, size_t size, size_t room, int flags,
                          sockaddr* address, socklen_t* length) {
    if (size > room) __chk_fail();
    return pf_recvfrom(fd, data, size, flags, address, length);
}

}  // extern "C"
