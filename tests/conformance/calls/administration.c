// Calls of administrators: each once, in a mount namespace of its own, or refused for a reason that
// has nothing to do with privileges; the other thread goes on.
// expect: fibers>=1 native_fallbacks=0 missed_blocking=0 locked=0 calls>=54
#include "../../support/twin.h"

#include <sched.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>

extern int pivot_root(const char*, const char*);
extern int init_module(void*, unsigned long, const char*);
extern int delete_module(const char*, unsigned);

static char dir[] = "/tmp/pfiber-twin-XXXXXX", file[64];

static void mounts(void) {
    CHECK(mount("twin", dir, "tmpfs", 0, "size=1m") == 0);
    CHECK_ERRNO(mount("twin", "/none/none", "tmpfs", 0, ""), ENOENT);
    int fd = creat(file, 0600);
    CHECK(fd >= 0);
    CHECK_ERRNO(umount(dir), EBUSY);
    CHECK(close(fd) == 0 && umount(dir) == 0);
    CHECK_ERRNO(umount(dir), EINVAL);
    CHECK(mount("twin", dir, "tmpfs", 0, "size=1m") == 0 && umount2(dir, MNT_DETACH) == 0);
    CHECK_ERRNO(umount2(dir, 0x40000000), EINVAL);
    CHECK_ERRNO(pivot_root("/none", "/none"), ENOENT);
    puts("mounts");
}

static void handles(void) {
    CHECK_ERRNO(fsopen("no such type", 0), ENODEV);
    int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
    CHECK(context >= 0);
    CHECK(fsconfig(context, FSCONFIG_SET_STRING, "size", "1m", 0) == 0);
    CHECK_ERRNO(fsconfig(context, 99, NULL, NULL, 0), EOPNOTSUPP);
    CHECK(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0);
    int tree = fsmount(context, FSMOUNT_CLOEXEC, 0);
    CHECK(tree >= 0);
    CHECK_ERRNO(fsmount(-1, 0, 0), EBADF);
    CHECK(move_mount(tree, "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH) == 0);
    CHECK_ERRNO(move_mount(-1, "none", AT_FDCWD, dir, 0), EBADF);
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
    CHECK(mount_setattr(AT_FDCWD, dir, 0, &attributes, sizeof attributes) == 0);
    CHECK_ERRNO(creat(file, 0600), EROFS);
    CHECK_ERRNO(mount_setattr(AT_FDCWD, dir, 0x40000000, &attributes, sizeof attributes), EINVAL);
    int picked = fspick(AT_FDCWD, dir, FSPICK_CLOEXEC);
    CHECK(picked >= 0);
    CHECK_ERRNO(fspick(AT_FDCWD, "/none", 0), ENOENT);
    int seen = open_tree(AT_FDCWD, dir, 0);
    CHECK(seen >= 0);
    CHECK_ERRNO(open_tree(AT_FDCWD, "/none", 0), ENOENT);
    CHECK(close(seen) == 0 && close(picked) == 0 && close(tree) == 0 && close(context) == 0);
    CHECK(umount(dir) == 0);
    union {
        struct file_handle head;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } handle;
    memset(&handle, 0, sizeof handle);
    handle.head.handle_bytes = 4;
    CHECK_ERRNO(open_by_handle_at(-1, &handle.head, O_RDONLY), EBADF);
    puts("handles");
}

// A kernel may be built without it; the output tells, natively and here.
#define REFUSED(call, want)                                          \
    do {                                                             \
        errno = 0;                                                   \
        CHECK((call) == -1 && (errno == (want) || errno == ENOSYS)); \
        printf("%.12s %s\n", #call, strerrorname_np(errno));         \
    } while (0)

static void kernel(void) {
    int size = klogctl(10, NULL, 0);
    CHECK(size >= 0 || errno == ENOSYS);
    REFUSED(klogctl(99, NULL, 0), EINVAL);
    REFUSED(init_module((void*)8, 8, ""), EFAULT);
    REFUSED(delete_module("no_such_module", O_NONBLOCK), ENOENT);
    REFUSED(reboot(0x7eadbeef), EINVAL);
    REFUSED(swapon("/none/none", 0), ENOENT);
    REFUSED(swapoff("/none/none"), ENOENT);
    REFUSED(acct("/none/none"), ENOENT);
    REFUSED(quotactl(QCMD(Q_GETQUOTA, USRQUOTA), "/none/none", 0, NULL), ENOENT);
}

static void* hangs_up(void* unused) {
    (void)unused;
    // Without a controlling terminal it does nothing.
    CHECK(vhangup() == 0);
    return NULL;
}

static void processes(void) {
    char from[8] = "process", to[8] = "";
    struct iovec here = {to, 8}, there = {from, 8};
    CHECK(process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 8 && memcmp(from, to, 8) == 0);
    CHECK_ERRNO(process_vm_readv(getpid(), &here, 1, &there, 1, 1), EINVAL);
    from[0] = 'P';
    CHECK(process_vm_writev(getpid(), &there, 1, &here, 1, 0) == 8 && to[0] == 'P');
    CHECK_ERRNO(process_vm_writev(0x3fffffff, &there, 1, &here, 1, 0), ESRCH);
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    CHECK(self >= 0);
    void* map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec range = {map, 4096};
    CHECK(process_madvise(self, &range, 1, MADV_COLD, 0) == 4096);
    CHECK_ERRNO(process_madvise(self, &range, 1, MADV_COLD, 1), EINVAL);
    CHECK_ERRNO(process_mrelease(self, 1), EINVAL);
    CHECK_ERRNO(process_mrelease(-1, 0), EBADF);
    CHECK(close(self) == 0);
    puts("processes");
}

static void* all(void* unused) {
    mounts();
    handles();
    kernel();
    processes();
    return hangs_up(unused);
}

int main(void) {
    snprintf(file, sizeof file, "%s", mkdtemp(dir));
    CHECK(file[0] == '/');
    snprintf(file, sizeof file, "%s/file", dir);
    // Before there is a thread: they all live in it.
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0) SKIP("needs the right to mount");
    CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    finish(start(all, NULL));
    CHECK(rmdir(dir) == 0);
    return 0;
}
