// Moving bytes on a fiber: what read/write, recv/send and their vector forms have in common.
//
// All functions return the kernel's answer (-errno), run on a fiber outside the runtime, and are
// called after the cancellation point at the entry of the hook.  A blocking transfer that stands
// for one system call delivers what that call would: everything on a stream unless an error, a
// timeout or a handler ends it after some bytes.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "interpose/io.h"

namespace pfiber::interpose {

constexpr long kMostBytes = 0x7ffff000;  // what one transfer moves at most

// Position `done` bytes into a vector: the element and the offset in it.
struct VectorPosition {
    VectorPosition(const iovec* vector, size_t count, size_t done) {
        while (index < count && done >= vector[index].iov_len) done -= vector[index++].iov_len;
        offset = done;
    }
    size_t index = 0;
    size_t offset = 0;
};

// Bytes of a vector that the kernel has read without complaint.
inline long total_bytes(const iovec* vector, size_t count) {
    unsigned long sum = 0;
    for (size_t i = 0; i < count; i++) sum += vector[i].iov_len;
    return sum > static_cast<unsigned long>(kMostBytes) ? kMostBytes : static_cast<long>(sum);
}

// Pushes until `total()` bytes are out.  attempt(fd, done) tries without blocking, from `done` on;
// blocking(fd, done) in a region.  total() is asked after the first success only.
template <class Attempt, class Blocking, class Total>
long send_all(Fiber* fiber, Waiting& waiting, bool is_socket, Attempt&& attempt,
              Blocking&& blocking, Total&& total) {
    long done = 0, wanted = 0;
    bool look_for_error = false;
    for (;;) {
        RuntimeSection::enter(fiber);
        const bool had = waiting.clear();
        // An error that came after some bytes belongs to the next call.
        if (look_for_error && (poll_now(waiting.fd, POLLOUT) & (POLLERR | POLLHUP)) != 0) {
            waiting.restore(had);
            RuntimeSection::leave(fiber);
            return done;
        }
        look_for_error = false;
        const long answer = attempt(waiting.fd, done);
        if (answer != -EAGAIN) {
            waiting.restore(had, answer);
            RuntimeSection::leave(fiber);
            if (answer <= 0) return done > 0 ? done : answer;
            if (done == 0) wanted = total();
            done += answer;
            if (done >= wanted) return done;
            continue;
        }
        const Step step = waiting.wait();
        RuntimeSection::leave(fiber);
        switch (step) {
            case Step::kRetry:
                look_for_error = is_socket && done > 0;
                break;
            case Step::kTimedOut:
            case Step::kNonBlocking:
                return done > 0 ? done : -EAGAIN;
            case Step::kInterrupted:
                if (waiting.interrupted(done > 0 || waiting.is_timed() ? Restart::kNo
                                                                       : Restart::kYes))
                    return done > 0 ? done : -EINTR;
                break;
            case Step::kUnpollable: {
                const long rest = blocking(waiting.fd, done);
                if (rest < 0) return done > 0 ? done : rest;
                return done + rest;
            }
        }
    }
}

// transfer.cc.  SIGPIPE for the calling fiber, as the kernel sends it to the thread that writes.
void raise_broken_pipe(Fiber* fiber);

// sockets.cc.  As recvmsg(2), recvfrom(2), sendmsg(2), sendto(2); -ENOTSOCK when it is none any
// more.
long receive_message(Fiber* fiber, int fd, msghdr* message, int flags);
long receive_bytes(Fiber* fiber, int fd, void* data, size_t size, int flags, sockaddr* address,
                   socklen_t* length);
long send_message(Fiber* fiber, int fd, const msghdr* message, int flags);
long send_bytes(Fiber* fiber, int fd, const void* data, size_t size, int flags,
                const sockaddr* address, socklen_t length);

}  // namespace pfiber::interpose
