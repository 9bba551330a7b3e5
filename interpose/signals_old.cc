// The signal calls of System V and BSD, and jumps out of handlers.
//
// libc's own change dispositions by its inner sigaction, past our table, so that the kernel would
// call the program's handler on whatever a worker runs.  Source: sigset(3), sigpause(3),
// sigblock(3).
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "interpose/hooks.h"
#include "interpose/start.h"
#include "scheduler/runtime.h"
#include "shim/signal.h"
#include "shim/thread.h"

using namespace pfiber;
using namespace pfiber::shim;

namespace {

bool is_valid(int signal) {
    if (signal >= 1 && signal <= 64) return true;
    errno = EINVAL;
    return false;
}

int change_one(int how, int signal, sigset_t* old) {
    if (!is_valid(signal)) return -1;
    sigset_t set;
    mask_to(signal_bit(signal), &set);
    return pf_sigprocmask(how, &set, old);
}

int plain_action(int signal, sighandler_t handler, struct sigaction* old) {
    struct sigaction action {};
    action.sa_handler = handler;
    return pf_sigaction(signal, &action, old);
}

using Jump = void (*)(__jmp_buf_tag*, int);

// Where libc's own sigprocmask is redirected, libc's jump restores the fiber's mask.  Where it is
// not, what sigsetjmp saved is the worker's, so the mask goes back to the one that the outermost
// handler interrupted, and libc jumps without one.
[[noreturn]] void jump(Jump libc_jump, __jmp_buf_tag* target, int value) {
    Fiber* fiber = current_fiber();
    if (fiber != nullptr && target->__mask_was_saved != 0 && !interpose::libc_is_redirected()) {
        Thread* thread = thread_of(fiber);
        __jmp_buf_tag copy = *target;
        copy.__mask_was_saved = 0;
        if (thread->handlers_active > 0) {
            thread->handlers_active = 0;
            set_thread_mask(fiber, thread->mask_outside);
        }
        libc_jump(&copy, value);
    }
    libc_jump(target, value);
    __builtin_unreachable();
}

}  // namespace

extern "C" {

sighandler_t pf_sigset(int signal, sighandler_t disposition) {
    sigset_t before;
    struct sigaction old;
    if (disposition == SIG_HOLD) {
        if (change_one(SIG_BLOCK, signal, &before) != 0) return SIG_ERR;
        if (sigismember(&before, signal) == 1) return SIG_HOLD;
        return pf_sigaction(signal, nullptr, &old) == 0 ? old.sa_handler : SIG_ERR;
    }
    if (disposition == SIG_ERR || !is_valid(signal)) {
        errno = EINVAL;
        return SIG_ERR;
    }
    if (plain_action(signal, disposition, &old) != 0) return SIG_ERR;
    if (change_one(SIG_UNBLOCK, signal, &before) != 0) return SIG_ERR;
    return sigismember(&before, signal) == 1 ? SIG_HOLD : old.sa_handler;
}

int pf_sighold(int signal) { return change_one(SIG_BLOCK, signal, nullptr); }
int pf_sigrelse(int signal) { return change_one(SIG_UNBLOCK, signal, nullptr); }
int pf_sigignore(int signal) { return plain_action(signal, SIG_IGN, nullptr); }

int pf_siggetmask() { return pf_sigblock(0); }

// System V: opens one signal of the thread's mask while it waits.
int pf___xpg_sigpause(int signal) {
    if (!is_valid(signal)) return -1;
    sigset_t set;
    pf_sigprocmask(SIG_BLOCK, nullptr, &set);
    sigdelset(&set, signal);
    return pf_sigsuspend(&set);
}
// BSD: waits with a mask of the first 32.
int pf_sigpause(int mask) {
    sigset_t set;
    mask_to(static_cast<unsigned>(mask), &set);
    return pf_sigsuspend(&set);
}
int pf___sigpause(int signal_or_mask, int is_signal) {
    return is_signal != 0 ? pf___xpg_sigpause(signal_or_mask) : pf_sigpause(signal_or_mask);
}

[[noreturn]] void pf_siglongjmp(__jmp_buf_tag* target, int value) {
    jump(reinterpret_cast<Jump>(interpose::real_function(interpose::Row::k_siglongjmp)), target,
         value);
}
[[noreturn]] void pf___longjmp_chk(__jmp_buf_tag* target, int value) {
    jump(reinterpret_cast<Jump>(interpose::real_function(interpose::Row::k___longjmp_chk)), target,
         value);
}

}  // extern "C"
