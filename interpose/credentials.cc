// set*id: all kernel threads of the process change together (shim/credentials.h).  In a process
// without fibers libc's own functions serve.
#include <errno.h>

#include "interpose/hooks.h"
#include "scheduler/host/syscall.h"
#include "scheduler/runtime.h"
#include "shim/credentials.h"

using namespace pfiber;

namespace {

int finish(long rc) {
    if (rc == 0) return 0;
    errno = static_cast<int>(-rc);
    return -1;
}

template <class... A>
int broadcast(long number, A... arguments) {
    const long all[3] = {host::syscall_argument(arguments)...};
    return finish(shim::set_credentials(number, all[0], all[1], all[2]));
}

bool on_fiber() { return current_fiber() != nullptr; }

}  // namespace

extern "C" {

int pf_setuid(uid_t id) { return on_fiber() ? broadcast(SYS_setuid, id) : real(setuid)(id); }
int pf_setgid(gid_t id) { return on_fiber() ? broadcast(SYS_setgid, id) : real(setgid)(id); }

int pf_seteuid(uid_t id) {
    constexpr long kSame = -1;
    return on_fiber() ? broadcast(SYS_setresuid, kSame, id, kSame) : real(seteuid)(id);
}
int pf_setegid(gid_t id) {
    constexpr long kSame = -1;
    return on_fiber() ? broadcast(SYS_setresgid, kSame, id, kSame) : real(setegid)(id);
}
int pf_setreuid(uid_t r, uid_t e) {
    return on_fiber() ? broadcast(SYS_setreuid, r, e) : real(setreuid)(r, e);
}
int pf_setregid(gid_t r, gid_t e) {
    return on_fiber() ? broadcast(SYS_setregid, r, e) : real(setregid)(r, e);
}
int pf_setresuid(uid_t r, uid_t e, uid_t s) {
    return on_fiber() ? broadcast(SYS_setresuid, r, e, s) : real(setresuid)(r, e, s);
}
int pf_setresgid(gid_t r, gid_t e, gid_t s) {
    return on_fiber() ? broadcast(SYS_setresgid, r, e, s) : real(setresgid)(r, e, s);
}
int pf_setgroups(size_t count, const gid_t* groups) {
    return on_fiber() ? broadcast(SYS_setgroups, count, groups) : real(setgroups)(count, groups);
}
// libc's own would call its setgroups inside.
int pf_initgroups(const char* user, gid_t group) {
    if (!on_fiber()) return real(initgroups)(user, group);
    gid_t groups[1024];
    int count = 1024;
    if (getgrouplist(user, group, groups, &count) < 0) {
        errno = EINVAL;
        return -1;
    }
    return broadcast(SYS_setgroups, static_cast<size_t>(count), groups);
}

}  // extern "C"
