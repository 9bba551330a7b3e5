// Calls that change what the kernel keeps per kernel thread: namespaces, capabilities, personality,
// file-system ids, prctl's and arch_prctl's, seccomp, memory policy, keyrings.  The fiber is bound
// to its worker first (shim/kernel_state.h).  serve_thread_call() does the same for syscall(2) with
// such a number and translates the ids of threads in others.
#include <errno.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "interpose/hooks.h"
#include "interpose/raw_calls.h"
#include "scheduler/host/call_filter.h"
#include "scheduler/runtime.h"
#include "shim/exit_words.h"
#include "shim/kernel_state.h"
#include "shim/thread.h"

using namespace pfiber;

extern "C" {  // the header has no declarations
int pf_capset(void* header, const void* data);
int pf_capget(void* header, void* data);
}

namespace {

int finish(long rc) {
    if (rc >= 0) return static_cast<int>(rc);
    errno = static_cast<int>(-rc);
    return -1;
}

// The kernel is asked, by taking it for a path.
bool is_readable(const void* address) {
    return host::raw_syscall(SYS_faccessat, AT_FDCWD, address, F_OK) != -EFAULT;
}

template <class... A>
int bound_call(long number, A... arguments) {
    return finish(shim::change_own_state(current_fiber(), number, arguments...));
}

// prctl(2): the rest belongs to the whole process, or only asks.
bool changes_thread(int option, unsigned long argument) {
    switch (option) {
        case PR_SET_PDEATHSIG:
        case PR_SET_UNALIGN:
        case PR_SET_KEEPCAPS:
        case PR_SET_FPEMU:
        case PR_SET_FPEXC:
        case PR_SET_TIMING:
        case PR_SET_ENDIAN:
        case PR_SET_SECCOMP:
        case PR_CAPBSET_DROP:
        case PR_SET_TSC:
        case PR_SET_SECUREBITS:
        case PR_SET_TIMERSLACK:
        case PR_MCE_KILL:
        case PR_SET_NO_NEW_PRIVS:
        case PR_SET_SPECULATION_CTRL:
        case PR_SET_IO_FLUSHER:
        case PR_SET_SYSCALL_USER_DISPATCH:
            return true;
        case PR_CAP_AMBIENT:
            return argument != PR_CAP_AMBIENT_IS_SET;
        default:
            return false;
    }
}

// Whether keyctl(2)'s operation changes the calling thread's keyrings.
bool changes_keyrings(long operation, long id) {
    return operation == KEYCTL_JOIN_SESSION_KEYRING || operation == KEYCTL_SET_REQKEY_KEYRING ||
           operation == KEYCTL_ASSUME_AUTHORITY ||
           (operation == KEYCTL_GET_KEYRING_ID && id == KEY_SPEC_THREAD_KEYRING);
}

bool is_state_change(long number, const long* a) {
    constexpr long kSetGs = 0x1001, kSetCpuid = 0x1012;
    switch (number) {
        case SYS_unshare:
        case SYS_setns:
        case SYS_setfsuid:
        case SYS_setfsgid:
        case SYS_set_mempolicy:
        case SYS_setuid:
        case SYS_setgid:
        case SYS_setreuid:
        case SYS_setregid:
        case SYS_setresuid:
        case SYS_setresgid:
        case SYS_setgroups:
        case SYS_set_thread_area:
        case SYS_ioperm:
        case SYS_iopl:
            return true;
        case SYS_personality:
            return a[0] != 0xffffffff;
        case SYS_seccomp:
            return a[0] != SECCOMP_GET_ACTION_AVAIL && a[0] != SECCOMP_GET_NOTIF_SIZES &&
                   (a[1] & SECCOMP_FILTER_FLAG_TSYNC) == 0;
        case SYS_keyctl:
            return changes_keyrings(a[0], a[1]);
        case SYS_prctl:
            return changes_thread(static_cast<int>(a[0]), static_cast<unsigned long>(a[1]));
        case SYS_arch_prctl:
            return a[0] == kSetGs || a[0] == kSetCpuid;
        default:
            return false;
    }
}

// A fiber's id in the header of capget and capset is its kernel thread's for the call; 0 is the
// caller's.
class ThreadInHeader {
  public:
    explicit ThreadInHeader(void* header) {
        Fiber* self = current_fiber();
        auto* head = static_cast<__user_cap_header_struct*>(header);
        if (self == nullptr || !is_readable(header) || head->pid <= 0) return;
        Fiber* fiber = fiber_with_tid(static_cast<uint32_t>(head->pid));
        if (fiber == nullptr) return;
        head_ = head;
        asked_ = head->pid;
        head->pid = fiber == self ? 0 : shim::kernel_thread_of(fiber);
    }
    ~ThreadInHeader() {
        if (head_ != nullptr) head_->pid = asked_;
    }
    ThreadInHeader(const ThreadInHeader&) = delete;
    ThreadInHeader& operator=(const ThreadInHeader&) = delete;

  private:
    __user_cap_header_struct* head_ = nullptr;
    int asked_ = 0;
};

template <class T>
T* pointer(long value) {
    return reinterpret_cast<T*>(value);
}

}  // namespace

namespace pfiber::interpose {

// Library bodies answer by errno; syscall(2)'s caller wants the same form, so it passes through.
bool serve_thread_call(long number, const long* a, long* answer) {
    Fiber* self = current_fiber();
    if (self == nullptr || self->depth != 0 || self->in_call) return false;
    const int saved = errno;
    long rc = 0;
    switch (number) {
        case SYS_sched_setaffinity:
            rc = pf_sched_setaffinity(static_cast<pid_t>(a[0]), static_cast<size_t>(a[1]),
                                      pointer<cpu_set_t>(a[2]));
            break;
        case SYS_sched_setscheduler:
            rc = pf_sched_setscheduler(static_cast<pid_t>(a[0]), static_cast<int>(a[1]),
                                       pointer<sched_param>(a[2]));
            break;
        case SYS_sched_setparam:
            rc = pf_sched_setparam(static_cast<pid_t>(a[0]), pointer<sched_param>(a[1]));
            break;
        case SYS_sched_getscheduler:
            rc = pf_sched_getscheduler(static_cast<pid_t>(a[0]));
            break;
        case SYS_sched_getparam:
            rc = pf_sched_getparam(static_cast<pid_t>(a[0]), pointer<sched_param>(a[1]));
            break;
        case SYS_setpriority:
            rc = pf_setpriority(static_cast<__priority_which_t>(a[0]), static_cast<id_t>(a[1]),
                                static_cast<int>(a[2]));
            break;
        case SYS_clock_gettime:
            rc = pf_clock_gettime(static_cast<clockid_t>(a[0]), pointer<timespec>(a[1]));
            break;
        case SYS_getrusage:
            rc = pf_getrusage(static_cast<__rusage_who_t>(a[0]), pointer<rusage>(a[1]));
            break;
        case SYS_capget:
            rc = pf_capget(pointer<void>(a[0]), pointer<void>(a[1]));
            break;
        case SYS_capset:
            rc = pf_capset(pointer<void>(a[0]), pointer<void>(a[1]));
            break;
        case SYS_prctl:
            rc = pf_prctl(static_cast<int>(a[0]), a[1], a[2], a[3], a[4]);
            break;
        default: {
            long raw = 0;
            if (!shim::thread_id_call(self, number, a, &raw)) {
                if (!is_state_change(number, a)) return false;
                raw = shim::change_own_state(self, number, a[0], a[1], a[2], a[3], a[4]);
            }
            *answer = raw;
            return true;
        }
    }
    *answer = rc == -1 ? -errno : rc;
    errno = saved;
    return true;
}

}  // namespace pfiber::interpose

extern "C" {

int pf_unshare(int flags) { return bound_call(SYS_unshare, flags); }

int pf_setns(int fd, int type) { return bound_call(SYS_setns, fd, type); }

int pf_personality(unsigned long persona) {
    constexpr unsigned long kQuery = 0xffffffff;
    if (persona == kQuery) return static_cast<int>(host::raw_syscall(SYS_personality, persona));
    return bound_call(SYS_personality, persona);
}

int pf_capset(void* header, const void* data) {
    const ThreadInHeader translated(header);
    return bound_call(SYS_capset, header, data);
}

int pf_capget(void* header, void* data) {
    const ThreadInHeader translated(header);
    return finish(host::raw_syscall(SYS_capget, header, data));
}

// The worker's %gs and its like stay with the fiber.
int pf_arch_prctl(int operation, unsigned long address) {
    const long arguments[2] = {operation, static_cast<long>(address)};
    if (!is_state_change(SYS_arch_prctl, arguments))
        return finish(host::raw_syscall(SYS_arch_prctl, operation, address));
    return bound_call(SYS_arch_prctl, operation, address);
}

int pf_setfsuid(uid_t id) { return bound_call(SYS_setfsuid, id); }

int pf_setfsgid(gid_t id) { return bound_call(SYS_setfsgid, id); }

int pf_prctl(int option, ...) {
    va_list list;
    va_start(list, option);
    const unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long),
                        c = va_arg(list, unsigned long), d = va_arg(list, unsigned long);
    va_end(list);
    Fiber* self = current_fiber();
    if (self != nullptr && option == PR_SET_NAME) {
        if (!is_readable(reinterpret_cast<const void*>(a))) return finish(-EFAULT);
        shim::set_thread_name(self, reinterpret_cast<const char*>(a));
        return 0;
    }
    if (self != nullptr && option == PR_GET_NAME) {
        if (const long rc = host::raw_syscall(SYS_prctl, option, a); rc != 0) return finish(rc);
        memcpy(reinterpret_cast<char*>(a), shim::thread_of(self)->name, sizeof(shim::Thread::name));
        return 0;
    }
    if (self != nullptr && option == PR_GET_TID_ADDRESS) {
        *reinterpret_cast<int**>(a) = shim::exit_tid_address_get(self);
        return 0;
    }
    if (option == PR_SET_SECCOMP && a == SECCOMP_MODE_FILTER)
        host::note_call_filter(reinterpret_cast<const sock_fprog*>(b));
    if (self != nullptr && changes_thread(option, a))
        return bound_call(SYS_prctl, option, a, b, c, d);
    return finish(host::raw_syscall(SYS_prctl, option, a, b, c, d));
}

}  // extern "C"
