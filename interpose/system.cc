// system(): spawn, then wait as a thread does: handlers run, cancellation kills and reaps the
// shell.
//
// libc's own would do, were it not that the fiber is nobody while libc works in borrowed memory; so
// only the spawn is libc's.  SIGINT and SIGQUIT are ignored while any thread is in here, SIGCHLD is
// blocked for the calling one.  Source: POSIX system(), system(3).
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "interpose/hooks.h"
#include "interpose/io.h"
#include "scheduler/lock.h"
#include "shim/signal.h"
#include "shim/thread.h"

using namespace pfiber;
using namespace pfiber::interpose;

namespace {

Lock lock;
int callers;  // threads in system()
struct sigaction interrupt_before, quit_before;

// The dispositions and the mask, for a scope; also left by cancellation.
class Quiet {
  public:
    explicit Quiet(Fiber* fiber) : fiber_(fiber), mask_(shim::thread_of(fiber)->mask) {
        struct sigaction ignore {};
        ignore.sa_handler = SIG_IGN;
        bool first;
        {
            const RuntimeSection section(fiber_);
            const LockGuard guard(lock);
            first = callers++ == 0;
            if (first) {
                shim::set_action(SIGINT, &ignore, &interrupt_before);
                shim::set_action(SIGQUIT, &ignore, &quit_before);
            }
            defaults_[0] = interrupt_before.sa_handler != SIG_IGN;
            defaults_[1] = quit_before.sa_handler != SIG_IGN;
        }
        shim::set_thread_mask(fiber_, mask_ | shim::signal_bit(SIGCHLD));
    }
    ~Quiet() noexcept(false) {
        const int saved_errno = errno;
        if (child > 0) {  // cancelled
            int status;
            host::raw_syscall(SYS_kill, child, SIGKILL);
            while (host::raw_syscall(SYS_wait4, child, &status, 0, nullptr) == -EINTR) {
            }
        }
        {
            const RuntimeSection section(fiber_);
            const LockGuard guard(lock);
            if (--callers == 0) {
                shim::set_action(SIGINT, &interrupt_before, nullptr);
                shim::set_action(SIGQUIT, &quit_before, nullptr);
            }
        }
        shim::set_thread_mask(fiber_, mask_);
        errno = saved_errno;
    }
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;

    int spawn(const char* command) {
        posix_spawnattr_t attributes;
        posix_spawnattr_init(&attributes);
        sigset_t set;
        shim::mask_to(mask_, &set);
        posix_spawnattr_setsigmask(&attributes, &set);
        sigemptyset(&set);
        if (defaults_[0]) sigaddset(&set, SIGINT);
        if (defaults_[1]) sigaddset(&set, SIGQUIT);
        posix_spawnattr_setsigdefault(&attributes, &set);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
        const char* const arguments[] = {"sh", "-c", command, nullptr};
        const int rc = pf_posix_spawn(&child, "/bin/sh", nullptr, &attributes,
                                      const_cast<char* const*>(arguments), environ);
        posix_spawnattr_destroy(&attributes);
        if (rc != 0) child = 0;
        return rc;
    }

    pid_t child = 0;  // to be killed when the scope is left

  private:
    Fiber* fiber_;
    uint64_t mask_;
    bool defaults_[2];
};

}  // namespace

extern "C" {

int pf_system(const char* command) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return real(system)(command);
    if (command == nullptr) return pf_system("exit 0") == 0 ? 1 : 0;
    shim::cancellation_point(fiber);
    Quiet quiet(fiber);
    int status = 127 << 8;  // as if the shell had ended so
    if (const int rc = quiet.spawn(command); rc != 0) {
        errno = rc;
        return status;
    }
    pid_t waited;
    do waited = pf_waitpid(quiet.child, &status, 0);
    while (waited == -1 && errno == EINTR);
    if (waited != quiet.child) status = -1;
    quiet.child = 0;
    return status;
}

}  // extern "C"
