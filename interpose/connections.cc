// accept, connect and the calls that make or set up sockets.
//
// A1: on one listener at most one fiber of this process stands between its poll and its accept, so
// that the accept does not block; only another process can take the connection in between, and then
// the accept waits in its region.  O_NONBLOCK is never set on a listener.
// C1: connect sets O_NONBLOCK for the length of one system call, on descriptions that nobody else
// has seen, under the descriptor's lock; others hand off.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include "interpose/hooks.h"
#include "interpose/transfer.h"

namespace pfiber::interpose {

namespace {

bool is_listening(Descriptor* descriptor, int fd) {
    if (descriptor->is_listener) return true;
    int listening = 0;
    const long rc = socket_option(fd, SO_ACCEPTCONN, &listening, sizeof listening);
    descriptor->is_listener = rc == 0 && listening != 0;
    return descriptor->is_listener;
}

void note_accepted(Descriptor* listener, long fd, int flags) {
    if (fd < 0) return;
    note_opened(fd, DescriptorKind::kSocket, true);
    Descriptor* descriptor = descriptor_if_known(static_cast<int>(fd));
    if (descriptor == nullptr || listener == nullptr) return;
    descriptor->socket_type = listener->socket_type;
    descriptor->socket_family = listener->socket_family;
    descriptor->is_blocking = (flags & SOCK_NONBLOCK) == 0;
}

// A turn that is released even when a cancellation unwinds the accept.
class AcceptTurn {
  public:
    AcceptTurn(Fiber* fiber, Descriptor* descriptor) : fiber_(fiber), descriptor_(descriptor) {}
    ~AcceptTurn() {
        if (!is_held_) return;
        RuntimeSection::enter(fiber_);
        give(true);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        fiber_->depth--;
    }
    AcceptTurn(const AcceptTurn&) = delete;
    AcceptTurn& operator=(const AcceptTurn&) = delete;

    bool take() {
        uint32_t seen = kFree;
        if (descriptor_->accept_turn.compare_exchange_strong(seen, kTaken)) return is_held_ = true;
        // The holder is to tell us; free meanwhile means it told somebody.
        while (seen != kFree && !descriptor_->accept_turn.compare_exchange_weak(seen, kWanted)) {
        }
        return seen == kFree ? take() : false;
    }
    // In the runtime.  `found`: a connection was taken, there may be more.
    void give(bool found) {
        is_held_ = false;
        const bool is_wanted = descriptor_->accept_turn.exchange(kFree) == kWanted;
        if (found || is_wanted) io_restore_ready(descriptor_, kRead);
    }

  private:
    static constexpr uint32_t kFree = 0, kTaken = 1, kWanted = 2;

    Fiber* fiber_;
    Descriptor* descriptor_;
    bool is_held_ = false;
};

long accept_on(Fiber* fiber, int fd, sockaddr* address, socklen_t* length, int flags) {
    Descriptor* descriptor = descriptor_of(fd);
    const bool is_refused = (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0;
    if (descriptor == nullptr || is_refused || !is_listening(descriptor, fd))
        return is_hidden(fd)
                   ? -EBADF
                   : maybe_call(fiber, Restart::kYes, SYS_accept4, fd, address, length, flags);
    socket_type_of(descriptor, fd);
    Waiting waiting(fiber, fd, descriptor, kRead);
    for (;;) {
        AcceptTurn turn(fiber, waiting.descriptor);
        RuntimeSection::enter(fiber);
        waiting.clear();
        Step step = Step::kRetry;
        bool is_ready = false;
        if (!turn.take()) {
            step = waiting.wait(WaitReason::kAccept);
        } else {
            is_ready = poll_now(waiting.fd, POLLIN) != 0;
            if (!is_ready) {
                turn.give(false);
                step = waiting.wait(WaitReason::kAccept);
            }
        }
        RuntimeSection::leave(fiber);
        if (is_ready || step == Step::kUnpollable) {
            const long answer = maybe_call(fiber, waiting.is_timed() ? Restart::kNo : Restart::kYes,
                                           SYS_accept4, waiting.fd, address, length, flags);
            note_accepted(waiting.descriptor, answer, flags);
            return answer;
        }
        switch (step) {
            case Step::kTimedOut:
                return -EAGAIN;
            case Step::kNonBlocking:
                return host::raw_syscall(SYS_accept4, waiting.fd, address, length, flags);
            case Step::kInterrupted:
                if (waiting.interrupted(waiting.is_timed() ? Restart::kNo : Restart::kYes))
                    return -EINTR;
                break;
            default:
                break;
        }
    }
}

// One connect that does not wait, on a socket in blocking mode.  In the runtime.
long connect_nowait(Descriptor* descriptor, int fd, const sockaddr* address, socklen_t length) {
    LockGuard guard(descriptor->lock);
    const long flags = host::raw_syscall(SYS_fcntl, fd, F_GETFL);
    if (host::is_error(flags)) return flags;
    descriptor->temporary_nonblock++;
    host::raw_syscall(SYS_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
    const long answer = host::raw_syscall(SYS_connect, fd, address, length);
    host::raw_syscall(SYS_fcntl, fd, F_SETFL, flags);
    descriptor->temporary_nonblock--;
    return answer;
}

long connect_on(Fiber* fiber, int fd, const sockaddr* address, socklen_t length) {
    Descriptor* descriptor = descriptor_of(fd);
    if (descriptor == nullptr) return host::raw_syscall(SYS_connect, fd, address, length);
    if (is_hidden(fd)) return -EBADF;
    // Datagram sockets only note the address.
    if (socket_type_of(descriptor, fd) == SOCK_DGRAM)
        return host::raw_syscall(SYS_connect, fd, address, length);
    RuntimeSection::enter(fiber);
    const bool is_raw = is_nonblocking(descriptor, fd);
    const bool may_set = descriptor->made_here && !descriptor->is_shared;
    RuntimeSection::leave(fiber);
    if (is_raw) return host::raw_syscall(SYS_connect, fd, address, length);
    if (!may_set) return blocking_call(fiber, Restart::kYes, SYS_connect, fd, address, length);
    Waiting waiting(fiber, fd, descriptor, kWrite);
    waiting.never_nonblocking();
    for (;;) {
        RuntimeSection::enter(fiber);
        waiting.clear();
        // Also after the wait: the second call settles the socket's state and returns its error.
        const long answer = connect_nowait(waiting.descriptor, waiting.fd, address, length);
        Step step = Step::kRetry;
        const bool is_pending = answer == -EINPROGRESS || answer == -EALREADY;
        if (is_pending) step = waiting.wait();
        RuntimeSection::leave(fiber);
        if (answer == -EAGAIN)  // AF_UNIX with a full backlog: no edge comes
            return blocking_call(fiber, Restart::kYes, SYS_connect, waiting.fd, address, length);
        if (!is_pending) return answer;
        switch (step) {
            case Step::kTimedOut:
                return answer;
            case Step::kInterrupted:  // the connection goes on without us
                if (waiting.interrupted(waiting.is_timed() ? Restart::kNo : Restart::kYes))
                    return -EINTR;
                break;
            case Step::kUnpollable:
                return blocking_call(fiber, Restart::kYes, SYS_connect, waiting.fd, address,
                                     length);
            default:
                break;
        }
    }
}

void note_socket(long fd, int family, int type) {
    if (fd < 0) return;
    note_opened(fd, DescriptorKind::kSocket, true);
    Descriptor* descriptor = descriptor_if_known(static_cast<int>(fd));
    if (descriptor == nullptr) return;
    descriptor->socket_family = static_cast<uint8_t>(family);
    descriptor->socket_type = static_cast<uint8_t>(type & 0xf);
    descriptor->is_blocking = (type & SOCK_NONBLOCK) == 0;
}

}  // namespace

}  // namespace pfiber::interpose

using namespace pfiber;
using namespace pfiber::interpose;

extern "C" {

int pf_accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) {
        const long answer = plain_call(SYS_accept4, fd, address, length, flags);
        if (g_runtime_started) note_accepted(nullptr, answer, flags);
        return static_cast<int>(result(answer));
    }
    shim::cancellation_point(fiber);
    return static_cast<int>(result(accept_on(fiber, fd, address, length, flags)));
}

int pf_accept(int fd, sockaddr* address, socklen_t* length) {
    return pf_accept4(fd, address, length, 0);
}

int pf_connect(int fd, const sockaddr* address, socklen_t length) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr)
        return static_cast<int>(result(plain_call(SYS_connect, fd, address, length)));
    shim::cancellation_point(fiber);
    return static_cast<int>(result(connect_on(fiber, fd, address, length)));
}

int pf_socket(int family, int type, int protocol) {
    const long fd = host::raw_syscall(SYS_socket, family, type, protocol);
    note_socket(fd, family, type);
    return static_cast<int>(result(fd));
}

int pf_socketpair(int family, int type, int protocol, int fds[2]) {
    const long answer = host::raw_syscall(SYS_socketpair, family, type, protocol, fds);
    if (answer == 0) {
        note_socket(fds[0], family, type);
        note_socket(fds[1], family, type);
    }
    return static_cast<int>(result(answer));
}

int pf_shutdown(int fd, int how) {
    if (is_hidden(fd)) return static_cast<int>(result(-EBADF));
    const long answer = host::raw_syscall(SYS_shutdown, fd, how);
    // A UNIX socket whose buffer is full raises no edge when its own sending ends.
    Descriptor* descriptor = answer == 0 ? descriptor_if_known(fd) : nullptr;
    if (descriptor != nullptr && current_fiber() != nullptr) {
        OptionalSection section;
        io_restore_ready(descriptor, kRead | kWrite);
    }
    return static_cast<int>(result(answer));
}

int pf_listen(int fd, int backlog) {
    const long answer = host::raw_syscall(SYS_listen, fd, backlog);
    if (answer == 0 && g_runtime_started)
        if (Descriptor* descriptor = descriptor_if_known(fd)) descriptor->is_listener = true;
    return static_cast<int>(result(answer));
}

int pf_setsockopt(int fd, int level, int option, const void* value, socklen_t length) {
    const long answer = host::raw_syscall(SYS_setsockopt, fd, level, option, value, length);
    // Both numberings of SO_RCVTIMEO and SO_SNDTIMEO.
    const bool is_timeout =
        level == SOL_SOCKET && (option == 20 || option == 21 || option == 66 || option == 67);
    if (is_timeout)
        if (Descriptor* descriptor = descriptor_if_known(fd)) descriptor->has_timeouts = false;
    // Kernel TLS and the like deliver records, each with an end of its own.
    if (level == IPPROTO_TCP && option == TCP_ULP) forget_short_reads(fd);
    return static_cast<int>(result(answer));
}

}  // extern "C"
