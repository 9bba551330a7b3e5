// syscall(2) with the number of a call that waits or makes descriptors: served like libc's own
// function of that name, except that it is no cancellation point.
#include "interpose/raw_calls.h"

#include <type_traits>
#include <utility>

#include "interpose/hooks.h"
#include "interpose/io.h"
#include "shim/mask.h"

namespace pfiber::interpose {

namespace {

template <class T>
T as(long argument) {
    if constexpr (std::is_pointer_v<T>)
        return reinterpret_cast<T>(argument);
    else
        return static_cast<T>(argument);
}

// Calls a body with the registers' values; its -1 and errno become the kernel's form.
template <class R, class... A, size_t... I>
long call_body(R (*body)(A...), const long* a, std::index_sequence<I...>) {
    const int saved = errno;
    const long answer = static_cast<long>(body(as<A>(a[I])...));
    if (answer != -1) return answer;
    const int error = errno;
    errno = saved;
    return -error;
}
template <class R, class... A>
long served(R (*body)(A...), const long* a) {
    return call_body(body, a, std::index_sequence_for<A...>());
}

long served_fcntl(const long* a) {
    const int saved = errno;
    const long answer = pf_fcntl64(static_cast<int>(a[0]), static_cast<int>(a[1]), a[2]);
    if (answer != -1) return answer;
    const int error = errno;
    errno = saved;
    return -error;
}

long serve(long number, const long* a, bool* is_ours) {
    switch (number) {
#define SERVE(name, body) \
    case SYS_##name:      \
        return served(&pf_##body, a);
        SERVE(read, read)
        SERVE(write, write)
        SERVE(readv, readv)
        SERVE(writev, writev)
        SERVE(close, close)
        SERVE(close_range, close_range)
        SERVE(dup, dup)
        SERVE(dup2, dup2)
        SERVE(dup3, dup3)
        SERVE(poll, poll)
        SERVE(epoll_wait, epoll_wait)
        SERVE(epoll_create1, epoll_create1)
        SERVE(epoll_ctl, epoll_ctl)
        SERVE(accept, accept)
        SERVE(accept4, accept4)
        SERVE(connect, connect)
        SERVE(recvfrom, recvfrom)
        SERVE(sendto, sendto)
        SERVE(recvmsg, recvmsg)
        SERVE(sendmsg, sendmsg)
        SERVE(socket, socket)
        SERVE(socketpair, socketpair)
        SERVE(listen, listen)
        SERVE(setsockopt, setsockopt)
        SERVE(pipe, pipe)
        SERVE(pipe2, pipe2)
        SERVE(eventfd2, eventfd)
        SERVE(timerfd_create, timerfd_create)
        SERVE(nanosleep, nanosleep)
        SERVE(flock, flock)
        SERVE(wait4, wait4)
#undef SERVE
        case SYS_clock_nanosleep:
            return -served(&pf_clock_nanosleep, a);
        case SYS_fcntl:
            return served_fcntl(a);
        default:
            *is_ours = false;
            return 0;
    }
}

}  // namespace

bool serve_raw_call(long number, const long* arguments, long* answer) {
    Fiber* fiber = calling_fiber();
    bool is_ours = true;
    if (fiber == nullptr) {
        *answer = serve(number, arguments, &is_ours);
        return is_ours;
    }
    const shim::NoCancel guard(fiber);
    *answer = serve(number, arguments, &is_ours);
    return is_ours;
}

}  // namespace pfiber::interpose
