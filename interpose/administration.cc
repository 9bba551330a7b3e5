// Calls of administrators and debuggers that last as long as a disk, a network or another process
// does (MAYBE): mounts, swap, kernel modules, quotas, memory of other processes.  None is a
// cancellation point.
#include "interpose/hooks.h"
#include "interpose/io.h"
#include "shim/mask.h"

using namespace pfiber;
using namespace pfiber::interpose;

namespace {

// In a region, and repeated when only the runtime's own signal ended it.
template <class... A>
int region(long number, A... a) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return static_cast<int>(result(host::raw_syscall(number, a...)));
    const shim::NoCancel guard(fiber);
    return static_cast<int>(result(maybe_call(fiber, Restart::kYes, number, a...)));
}

// The same for a call that makes a descriptor.
template <class... A>
int opening(long number, A... a) {
    const int fd = region(number, a...);
    note_opened(fd, DescriptorKind::kUnknown, true);
    return fd;
}

}  // namespace

extern "C" {

// ---- file systems

int pf_mount(const char* source, const char* target, const char* type, unsigned long flags,
             const void* data) {
    return region(SYS_mount, source, target, type, flags, data);
}
int pf_umount2(const char* target, int flags) { return region(SYS_umount2, target, flags); }
int pf_umount(const char* target) { return pf_umount2(target, 0); }
int pf_pivot_root(const char* root, const char* old) { return region(SYS_pivot_root, root, old); }
int pf_move_mount(int from_directory, const char* from, int to_directory, const char* to,
                  unsigned flags) {
    return region(SYS_move_mount, from_directory, from, to_directory, to, flags);
}
int pf_mount_setattr(int directory, const char* path, unsigned flags, mount_attr* attributes,
                     size_t size) {
    return region(SYS_mount_setattr, directory, path, flags, attributes, size);
}
int pf_fsopen(const char* type, unsigned flags) { return opening(SYS_fsopen, type, flags); }
int pf_fsmount(int fd, unsigned flags, unsigned attributes) {
    return opening(SYS_fsmount, fd, flags, attributes);
}
int pf_fspick(int directory, const char* path, unsigned flags) {
    return opening(SYS_fspick, directory, path, flags);
}
int pf_fsconfig(int fd, unsigned command, const char* key, const void* value, int extra) {
    return region(SYS_fsconfig, fd, command, key, value, extra);
}
int pf_open_tree(int directory, const char* path, unsigned flags) {
    return opening(SYS_open_tree, directory, path, flags);
}
int pf_open_by_handle_at(int mount, file_handle* handle, int flags) {
    if (Fiber* fiber = calling_fiber()) shim::cancellation_point(fiber);
    return opening(SYS_open_by_handle_at, mount, handle, flags);
}
int pf_quotactl(int command, const char* special, int id, caddr_t address) {
    return region(SYS_quotactl, command, special, id, address);
}
int pf_acct(const char* path) { return region(SYS_acct, path); }
int pf_swapon(const char* path, int flags) { return region(SYS_swapon, path, flags); }
int pf_swapoff(const char* path) { return region(SYS_swapoff, path); }

// ---- the kernel

int pf_init_module(void* image, unsigned long size, const char* parameters) {
    return region(SYS_init_module, image, size, parameters);
}
int pf_delete_module(const char* name, unsigned flags) {
    return region(SYS_delete_module, name, flags);
}
int pf_klogctl(int type, char* data, int size) { return region(SYS_syslog, type, data, size); }
int pf_reboot(int command) { return region(SYS_reboot, 0xfee1dead, 0x28121969, command, nullptr); }
int pf_vhangup() { return region(SYS_vhangup); }

// ---- memory of other processes

ssize_t pf_process_vm_readv(pid_t pid, const iovec* local, unsigned long local_count,
                            const iovec* remote, unsigned long remote_count, unsigned long flags) {
    return short_call(SYS_process_vm_readv, pid, local, local_count, remote, remote_count, flags);
}
ssize_t pf_process_vm_writev(pid_t pid, const iovec* local, unsigned long local_count,
                             const iovec* remote, unsigned long remote_count, unsigned long flags) {
    return short_call(SYS_process_vm_writev, pid, local, local_count, remote, remote_count, flags);
}
ssize_t pf_process_madvise(int process, const iovec* ranges, size_t count, int advice,
                           unsigned flags) {
    return short_call(SYS_process_madvise, process, ranges, count, advice, flags);
}
int pf_process_mrelease(int process, unsigned flags) {
    return static_cast<int>(short_call(SYS_process_mrelease, process, flags));
}

}  // extern "C"
