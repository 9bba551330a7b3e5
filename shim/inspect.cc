// See inspect.h.
#include "shim/inspect.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>

#include "scheduler/host/report.h"
#include "scheduler/host/signal.h"
#include "scheduler/runtime.h"
#include "scheduler/trace.h"
#include "shim/credentials.h"
#include "shim/signal.h"
#include "shim/stacks.h"
#include "shim/thread.h"

namespace pfiber::shim {

namespace {

std::atomic<uint32_t> dump_to{0};  // pid of the launcher that asked, perhaps with kDumpStacks

// Pending from here until the handler is left.
void quit_at_once() {
    unwatch_quit();
    host::raw_tgkill(host::raw_getpid(), host::raw_gettid(), SIGQUIT);
}

// A process that made no thread (a fork's child) has nothing to list and nobody to list it.
PFIBER_SIGNAL_TEXT void on_quit(int, siginfo_t* info, void*) {
    if (g_runtime_started && info->si_pid != host::raw_getpid())
        request_monitor(kServeQuit);
    else
        quit_at_once();
}

void dump_to_launcher(uint32_t who) {
    host::Line name;
    name.add("pfiber.dump.%u", who & ~static_cast<uint32_t>(kDumpStacks));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const char* text = name.text();
    const size_t length = name.size();
    for (size_t i = 0; i < length; i++) address.sun_path[i + 1] = text[i];
    const long fd = host::raw_syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (host::is_error(fd)) return;
    const long rc =
        host::raw_syscall(SYS_connect, fd, &address, offsetof(sockaddr_un, sun_path) + 1 + length);
    if (!host::is_error(rc)) {
        dump_fibers(static_cast<int>(fd), thread_name);
        if ((who & kDumpStacks) != 0) send_stacks(static_cast<int>(fd));
    }
    host::raw_close(static_cast<int>(fd));
}

// The program's own: the kernel performs the default action after the list is out.
void quit() {
    dump_fibers(2, thread_name);
    const host::KernelSigaction reset{};
    host::raw_sigaction(SIGQUIT, &reset, nullptr);
    host::raw_syscall(SYS_kill, host::raw_getpid(), SIGQUIT);
}

}  // namespace

void watch_quit() {
    if (is_default(SIGQUIT)) host::install_handler(SIGQUIT, on_quit, SA_RESTART, 0);
}

void unwatch_quit() {
    const host::KernelSigaction reset{};
    if (is_default(SIGQUIT)) host::raw_sigaction(SIGQUIT, &reset, nullptr);
}

bool is_dump_request(const siginfo_t* info) {
    const auto value = reinterpret_cast<uint64_t>(info->si_value.sival_ptr);
    if (info->si_code != SI_QUEUE || (value & 0xffffffff00000000) != kDumpTag) return false;
    dump_to.store(static_cast<uint32_t>(value));
    return true;
}

void serve_requests(uint32_t requests) {
    if ((requests & kServeCredentials) != 0) credentials_serve();
    if ((requests & kServeSignals) != 0) dispatch_noted_signals();
    if ((requests & kServeDump) != 0) dump_to_launcher(dump_to.load());
    if ((requests & kServeQuit) != 0) quit();
}

}  // namespace pfiber::shim
