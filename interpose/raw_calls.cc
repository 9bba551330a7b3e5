// syscall(2) with the number of a call that waits or makes descriptors: served like libc's own
// function of that name, except that it is no cancellation point.
#include "interpose/raw_calls.h"

#include <linux/seccomp.h>
#include <string.h>

#include <type_traits>
#include <utility>

#include "interpose/hooks.h"
#include "interpose/io.h"
#include "shim/exit_words.h"
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

// What a body answers with errno, as the kernel would.
template <class Call>
long in_kernel_form(Call call) {
    const int saved = errno;
    const long answer = static_cast<long>(call());
    if (answer != -1) return answer;
    const int error = errno;
    errno = saved;
    return -error;
}

// The kernel's signal set is one word, and its size comes with the call.
struct KernelSet {
    sigset_t set;
    bool is_given;
    long error = 0;

    KernelSet(long word, long size) : is_given(word != 0) {
        sigemptyset(&set);
        const void* given = reinterpret_cast<const void*>(word);
        if (size != 8)
            error = -EINVAL;
        else if (is_given && !can_read(given, 8))
            error = -EFAULT;
        else if (is_given)
            memcpy(&set, given, 8);
    }
    const sigset_t* get() const { return is_given ? &set : nullptr; }
};

// pselect6's last argument.
struct SizedSet {
    long word;
    long size;
};

long served_sigprocmask(const long* a) {
    const KernelSet set(a[1], a[3]);
    if (set.error != 0) return set.error;
    sigset_t old;
    const long answer =
        in_kernel_form([&] { return pf_sigprocmask(static_cast<int>(a[0]), set.get(), &old); });
    if (answer != 0 || a[2] == 0) return answer;
    if (!can_write(as<void*>(a[2]), 8)) return -EFAULT;
    memcpy(as<void*>(a[2]), &old, 8);
    return answer;
}

long served_sigpending(const long* a) {
    if (static_cast<unsigned long>(a[1]) > 8) return -EINVAL;
    sigset_t pending;
    const long answer = in_kernel_form([&] { return pf_sigpending(&pending); });
    if (answer != 0) return answer;
    if (!can_write(as<void*>(a[0]), static_cast<size_t>(a[1]))) return -EFAULT;
    memcpy(as<void*>(a[0]), &pending, static_cast<size_t>(a[1]));
    return answer;
}

long served_sigaction(const long* a) {
    if (a[3] != 8) return -EINVAL;
    if (!can_read_if_given(as<const host::KernelSigaction*>(a[1]))) return -EFAULT;
    if (a[2] != 0 && !can_write(as<void*>(a[2]), sizeof(host::KernelSigaction))) return -EFAULT;
    struct sigaction action {
    }, old{};
    if (a[1] != 0) {
        const auto* given = as<const host::KernelSigaction*>(a[1]);
        action.sa_sigaction = reinterpret_cast<void (*)(int, siginfo_t*, void*)>(given->handler);
        action.sa_flags = static_cast<int>(given->flags & ~host::kSaRestorer);
        sigemptyset(&action.sa_mask);
        memcpy(&action.sa_mask, &given->mask, 8);
    }
    const long answer = in_kernel_form([&] {
        return pf_sigaction(static_cast<int>(a[0]), a[1] != 0 ? &action : nullptr,
                            a[2] != 0 ? &old : nullptr);
    });
    if (answer == 0 && a[2] != 0) {
        auto* told = as<host::KernelSigaction*>(a[2]);
        told->handler = reinterpret_cast<void*>(old.sa_sigaction);
        told->flags = static_cast<unsigned long>(old.sa_flags);
        told->restorer = old.sa_restorer;
        memcpy(&told->mask, &old.sa_mask, 8);
    }
    return answer;
}

// Also to threads of other processes.
long served_tkill(const long* a) {
    const long answer = in_kernel_form([&] {
        return pf_tgkill(host::raw_getpid(), static_cast<pid_t>(a[0]), static_cast<int>(a[1]));
    });
    return answer == -ESRCH ? host::raw_syscall(SYS_tkill, a[0], a[1]) : answer;
}

long served_pselect(const long* a) {
    const auto* sized = as<const SizedSet*>(a[5]);
    if (!can_read_if_given(sized)) return -EFAULT;
    const KernelSet set(sized != nullptr ? sized->word : 0, sized != nullptr ? sized->size : 8);
    if (set.is_given && set.error != 0) return set.error;
    return in_kernel_form([&] {
        return pf_pselect(static_cast<int>(a[0]), as<fd_set*>(a[1]), as<fd_set*>(a[2]),
                          as<fd_set*>(a[3]), as<const timespec*>(a[4]), set.get());
    });
}

// What the kernel keeps for each thread; null: it does, this is no fiber.
long serve_exit_words(long number, const long* a, bool* is_ours) {
    Fiber* fiber = current_fiber();
    *is_ours = fiber != nullptr;
    if (fiber == nullptr) return 0;
    switch (number) {
        case SYS_set_tid_address:
            return shim::exit_tid_address_set(fiber, as<int*>(a[0]));
        case SYS_set_robust_list:
            return shim::exit_robust_list_set(as<const void*>(a[0]), static_cast<size_t>(a[1]));
        default: {
            Fiber* whose = a[0] == 0 ? fiber : fiber_with_tid(static_cast<uint32_t>(a[0]));
            *is_ours = whose != nullptr;
            if (whose == nullptr) return 0;
            if (!can_write(as<void*>(a[1]), sizeof(void*)) ||
                !can_write(as<void*>(a[2]), sizeof(size_t)))
                return -EFAULT;
            return shim::exit_robust_list_get(whose, as<void**>(a[1]), as<size_t*>(a[2]));
        }
    }
}

// Calls that take a set of signals, in the kernel's form.
long serve_masked(long number, const long* a, bool* is_ours) {
    switch (number) {
        case SYS_rt_sigprocmask:
            return served_sigprocmask(a);
        case SYS_rt_sigpending:
            return served_sigpending(a);
        case SYS_rt_sigaction:
            return served_sigaction(a);
        case SYS_pselect6:
            return served_pselect(a);
        case SYS_rt_sigsuspend: {
            const KernelSet set(a[0], a[1]);
            if (set.error != 0) return set.error;
            return in_kernel_form([&] { return pf_sigsuspend(set.get()); });
        }
        case SYS_rt_sigtimedwait: {
            const KernelSet set(a[0], a[3]);
            if (set.error != 0) return set.error;
            return in_kernel_form([&] {
                return pf_sigtimedwait(set.get(), as<siginfo_t*>(a[1]), as<const timespec*>(a[2]));
            });
        }
        case SYS_ppoll: {
            const KernelSet set(a[3], a[3] != 0 ? a[4] : 8);
            if (set.error != 0) return set.error;
            return in_kernel_form([&] {
                return pf_ppoll(as<pollfd*>(a[0]), static_cast<nfds_t>(a[1]),
                                as<const timespec*>(a[2]), set.get());
            });
        }
        case SYS_epoll_pwait:
        case SYS_epoll_pwait2: {
            const KernelSet set(a[4], a[4] != 0 ? a[5] : 8);
            if (set.error != 0) return set.error;
            return in_kernel_form([&] {
                const int fd = static_cast<int>(a[0]), most = static_cast<int>(a[2]);
                auto* events = as<epoll_event*>(a[1]);
                if (number == SYS_epoll_pwait)
                    return pf_epoll_pwait(fd, events, most, static_cast<int>(a[3]), set.get());
                return pf_epoll_pwait2(fd, events, most, as<const timespec*>(a[3]), set.get());
            });
        }
        case SYS_signalfd4: {
            const KernelSet set(a[1], a[2]);
            if (set.error != 0) return set.error;
            return in_kernel_form([&] {
                return pf_signalfd(static_cast<int>(a[0]), &set.set, static_cast<int>(a[3]));
            });
        }
        default:
            *is_ours = false;
            return 0;
    }
}

// Calls whose registers are the arguments of libc's function.
long serve_alike(long number, const long* a, bool* is_ours) {
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
        SERVE(select, select)
        SERVE(pread64, pread64)
        SERVE(pwrite64, pwrite64)
        SERVE(preadv, preadv64)
        SERVE(pwritev, pwritev64)
        SERVE(sendmmsg, sendmmsg)
        SERVE(recvmmsg, recvmmsg)
        SERVE(shutdown, shutdown)
        SERVE(sendfile, sendfile64)
        SERVE(splice, splice)
        SERVE(tee, tee)
        SERVE(vmsplice, vmsplice)
        SERVE(copy_file_range, copy_file_range)
        SERVE(msgsnd, msgsnd)
        SERVE(msgrcv, msgrcv)
        SERVE(semop, semop)
        SERVE(semtimedop, semtimedop)
        SERVE(mq_timedsend, mq_timedsend)
        SERVE(mq_timedreceive, mq_timedreceive)
        SERVE(creat, creat64)
        SERVE(fsync, fsync)
        SERVE(fdatasync, fdatasync)
        SERVE(pause, pause)
        SERVE(epoll_create, epoll_create)
        SERVE(inotify_init1, inotify_init1)
        SERVE(memfd_create, memfd_create)
        SERVE(sigaltstack, sigaltstack)
#undef SERVE
        default:
            return serve_masked(number, a, is_ours);
    }
}

long serve(long number, const long* a, bool* is_ours) {
    switch (number) {
        case SYS_clock_nanosleep:
            if (a[0] == CLOCK_THREAD_CPUTIME_ID) break;  // refused with another error than by libc
            return -served(&pf_clock_nanosleep, a);
        case SYS_fcntl:
            return in_kernel_form(
                [&] { return pf_fcntl64(static_cast<int>(a[0]), static_cast<int>(a[1]), a[2]); });
        case SYS_open:
            return in_kernel_form(
                [&] { return pf_open64(as<const char*>(a[0]), static_cast<int>(a[1]), a[2]); });
        case SYS_openat:
            return in_kernel_form([&] {
                return pf_openat64(static_cast<int>(a[0]), as<const char*>(a[1]),
                                   static_cast<int>(a[2]), a[3]);
            });
        case SYS_seccomp:
            if (a[0] == SECCOMP_SET_MODE_FILTER)
                host::note_call_filter(as<const sock_fprog*>(a[2]));
            break;
        case SYS_tkill:
            return served_tkill(a);
        case SYS_execve:
        case SYS_execveat:
            return execute_call(number, a);
        case SYS_waitid:
            if (a[4] != 0) break;  // resource usage: libc has no such function
            return served(&pf_waitid, a);
        case SYS_set_tid_address:
        case SYS_set_robust_list:
        case SYS_get_robust_list:
            return serve_exit_words(number, a, is_ours);
        default:
            return serve_alike(number, a, is_ours);
    }
    *is_ours = false;
    return 0;
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
