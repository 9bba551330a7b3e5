// Calls that change what the kernel keeps per kernel thread: namespaces, capabilities, personality,
// file-system ids.  The fiber is bound to its worker first, for good; the worker ends with it, so
// that the changed state reaches no other fiber (Go: LockOSThread and its taint).
#include <errno.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/personality.h>

#include "interpose/hooks.h"
#include "scheduler/runtime.h"

using namespace pfiber;

namespace {

// The first change binds; later ones of the same fiber find it bound.
template <class... A>
int bound_call(long number, A... arguments) {
    Fiber* self = current_fiber();
    if (self != nullptr && self->locked_worker == nullptr) lock_to_worker(self);
    const long rc = host::raw_syscall(number, arguments...);
    if (rc >= 0) return static_cast<int>(rc);
    errno = static_cast<int>(-rc);
    return -1;
}

}  // namespace

extern "C" {

int pf_unshare(int flags) { return bound_call(SYS_unshare, flags); }

int pf_setns(int fd, int type) { return bound_call(SYS_setns, fd, type); }

int pf_personality(unsigned long persona) {
    constexpr unsigned long kQuery = 0xffffffff;
    if (persona == kQuery) return static_cast<int>(host::raw_syscall(SYS_personality, persona));
    return bound_call(SYS_personality, persona);
}

int pf_capset(void* header, const void* data) { return bound_call(SYS_capset, header, data); }

int pf_setfsuid(uid_t id) { return bound_call(SYS_setfsuid, id); }

int pf_setfsgid(gid_t id) { return bound_call(SYS_setfsgid, id); }

}  // extern "C"
