// Declarations of the hook bodies, expanded from the ledger: a body whose signature differs from
// the system header's is a compile error.  Include it in every file that defines bodies.
#pragma once

#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <link.h>
#include <mqueue.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/inotify.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/quota.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/swap.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>
#include <wordexp.h>

namespace pfiber::interpose {

template <class F>
struct WithoutNoexcept {
    using Type = F;
};
template <class R, class... A>
struct WithoutNoexcept<R(A...) noexcept> {
    using Type = R(A...);
};
template <class R, class... A>
struct WithoutNoexcept<R(A..., ...) noexcept> {
    using Type = R(A..., ...);
};

// Index of each row, for the table of libc's own functions.
enum class Row : int {
#define HOOK(symbol, class, redirect, note) k_##symbol,
#define PRIVATE_HOOK(symbol, class, redirect, note) k_##symbol,
#define ALIAS(symbol, target, redirect, note) k_##symbol,
#include "interpose/hooks.def"
    kCount
};

// libc's own function of a row; looked up at first use, all of them before the first fiber.
void* real_function(Row row);
void resolve_all();  // single-threaded callers only

}  // namespace pfiber::interpose

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
extern "C" {
#define HOOK(symbol, class, redirect, note) \
    ::pfiber::interpose::WithoutNoexcept<decltype(::symbol)>::Type pf_##symbol;
#include "interpose/hooks.def"
}
#pragma GCC diagnostic pop

extern "C" [[noreturn]] void __chk_fail();  // libc: reports and aborts

// libc's functions carry attributes that a cast cannot keep; nothing is lost with them.
#pragma GCC diagnostic ignored "-Wignored-attributes"

// real(fork)(): only for rows that are not redirected.
#define real(symbol)                                                                    \
    (reinterpret_cast<::pfiber::interpose::WithoutNoexcept<decltype(::symbol)>::Type*>( \
        ::pfiber::interpose::real_function(::pfiber::interpose::Row::k_##symbol)))
