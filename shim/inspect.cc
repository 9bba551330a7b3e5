// See inspect.h.
#include "shim/inspect.h"

#include "scheduler/host/signal.h"
#include "scheduler/runtime.h"
#include "shim/credentials.h"
#include "shim/dump.h"
#include "shim/signal.h"

namespace pfiber::shim {

namespace {

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

// The program's own: the kernel performs the default action after the list is out.
void quit() {
    dump_to_messages();
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
    dump_request(static_cast<uint32_t>(value));
    return true;
}

uint32_t serve_requests(uint32_t requests) {
    if ((requests & kServeCredentials) != 0) credentials_serve();
    if ((requests & kServeSignals) != 0) dispatch_noted_signals();
    const bool goes_on = (requests & kServeDump) != 0 && dump_serve();
    if ((requests & kServeQuit) != 0) quit();
    return goes_on ? uint32_t{kServeDump} : 0;
}

}  // namespace pfiber::shim
