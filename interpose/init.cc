// Start-up, in this order:
//   load      options from the environment; PFIBER_OFF points every slot at libc
//   main      runs in run_main()'s frame (pf___libc_start_main)
//   1st       pthread_create: libc's functions are looked up, the identity probed, the runtime
//   started
//             (main becomes a fiber), libc's entry points redirected
//   exit      statistics
// Hooks work before the constructor ran: they serve natively until the start.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "interpose/hooks.h"
#include "interpose/regions.h"
#include "interpose/start.h"
#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/libc.h"
#include "scheduler/host/report.h"
#include "scheduler/host/syscall.h"
#include "scheduler/runtime.h"
#include "shim/thread.h"

extern char** environ;

namespace pfiber::interpose {

namespace {

enum class Mode { kFresh, kOptionsRead, kFibers, kNative };
Mode mode = Mode::kFresh;
std::atomic<bool> reported_no_redirection{false};
int (*program_main)(int, char**, char**);
bool left_in_handler = false;  // this fork child

void read_options() {
    if (mode != Mode::kFresh) return;
    mode = Mode::kOptionsRead;
    options_parse(environ);
    if (options().off) {
        mode = Mode::kNative;
        run_natively();
        return;
    }
    if (!options().children) unsetenv("LD_PRELOAD");
    if (const char* runtime = host::runtime_without_fibers(); runtime != nullptr) {
        host::warn("this program contains %s; it runs on kernel threads", runtime);
        mode = Mode::kNative;
        run_natively();
        return;
    }
#ifdef PFIBER_MUTANTS
    mutate_from_environment();
#endif
}

// Where libc is not redirected its fork does not pass through our _Fork.  Ours are the first
// handlers that were registered: the child's runs before the program's, the parent's as well.
void after_fork_in_parent() {
    if (current_fiber() != nullptr && !libc_is_redirected()) descriptors_all_shared();
}
void after_fork_in_child() {
    if (Fiber* fiber = current_fiber(); fiber != nullptr) {  // else done by _Fork, or never started
        fiber->depth = 1;
        restart_after_fork();
        fiber->depth = 0;
    }
    // The handler returns into a call of ours, which goes on with the fiber.
    if (left_in_handler) ensure_started();
    left_in_handler = false;
}

__attribute__((constructor)) void at_load() {
    read_options();
    g_first_thread_pointer = host::thread_pointer();
    if (mode != Mode::kNative) pthread_atfork(nullptr, after_fork_in_parent, after_fork_in_child);
}

__attribute__((destructor)) void at_exit() {
    if (mode == Mode::kFresh || !options().stats || options().off) return;
    count_calls();
    host::Line line;
    counters_line(line);
    line.add(" pid=%d", host::raw_getpid());
    host::raw_line("%s", line.text());
}

int main_in_frame(int argc, char** argv, char** envp) {
    return shim::run_main(program_main, argc, argv, envp);
}

// Not the kernel's first thread, or other threads already: they cannot become fibers.
bool is_only_thread() { return host::raw_gettid() == host::raw_getpid(); }

}  // namespace

bool may_have_fibers() {
    read_options();
    return mode != Mode::kNative;
}

bool ensure_started() {
    if (__builtin_expect(mode == Mode::kFibers, 1)) return true;
    read_options();
    if (mode == Mode::kNative) return false;
    if (!is_only_thread()) {
        COUNT(native_fallbacks);
        return false;
    }
    resolve_all();
    const char* reason = nullptr;
    if (!runtime_start(&reason)) {
        if (g_start_error != 0)
            host::warn("%s: error %ld; this process runs on kernel threads", reason, g_start_error);
        else
            host::warn("%s; this process runs on kernel threads", reason);
        COUNT(native_fallbacks);
        mode = Mode::kNative;
        return false;
    }
    shim::threads_start(main_fiber());
    mode = Mode::kFibers;
    adopt_early_locks(main_fiber());
    if (options().redirect) {
        long error = 0;
        const int count = redirect_libc(&error);
        if (count == 0)
            host::warn_once(reported_no_redirection,
                            "libc's entry points are not redirected (%s, error %ld); blocking "
                            "calls inside libc keep a kernel thread, as with PFIBER_REDIRECT=0",
                            error == 0 ? "unknown code" : "memory or mprotect refused", error);
        COUNT_ADD(redirected, count);
    }
    return true;
}

// In the child of a fork, on the fiber that forked.
void restart_after_fork() {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) return;
    runtime_after_fork(fiber);
    left_in_handler = shim::threads_after_fork(fiber);
    t_current = t_owner = nullptr;
    mode = Mode::kOptionsRead;
}

}  // namespace pfiber::interpose

using namespace pfiber::interpose;

extern "C" int pf___libc_start_main(int (*main)(int, char**, char**), int argc, char** argv,
                                    void (*init)(), void (*fini)(), void (*rtld_fini)(),
                                    void* stack_end) {
    using StartMain = int (*)(int (*)(int, char**, char**), int, char**, void (*)(), void (*)(),
                              void (*)(), void*);
    program_main = main;
    auto start = reinterpret_cast<StartMain>(real_function(Row::k___libc_start_main));
    return start(main_in_frame, argc, argv, init, fini, rtld_fini, stack_end);
}
