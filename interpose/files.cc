// Files and paths: calls that last as long as a disk or a server does (MAYBE), and the locks on
// files, which last as long as their holder pleases (BLOCKING).
#include <limits.h>
#include <stdarg.h>
#include <sys/xattr.h>

#include "interpose/hooks.h"
#include "interpose/io.h"
#include "interpose/thread_files.h"
#include "shim/mask.h"

namespace pfiber::interpose {

namespace {

// Opening a FIFO waits for the other end; a device for its carrier.
long open_on(Fiber* fiber, uintptr_t site, int directory, const char* path, int flags,
             mode_t mode) {
    if (is_hidden(directory)) return -EBADF;
    // O_LARGEFILE is the kernel's business on this machine only in name; libc sets it nowhere.
    if (fiber == nullptr) {
        const long fd = plain_call(SYS_openat, directory, path, flags, mode);
        note_opened(fd, DescriptorKind::kUnknown, true);
        return fd;
    }
    const long fd = predicted_call(fiber, PredictedCall(call_key(SYS_openat, site)), Restart::kYes,
                                   SYS_openat, directory, path, flags, mode);
    note_opened(fd, DescriptorKind::kUnknown, true);
    return opened_thread_file(fiber, fd, directory, path, flags);
}

bool takes_mode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

int open_at_point(uintptr_t site, int directory, const char* path, int flags, mode_t mode) {
    Fiber* fiber = calling_fiber();
    if (fiber != nullptr) shim::cancellation_point(fiber);
    return static_cast<int>(result(open_on(fiber, site, directory, path, flags, mode)));
}

// A call on a path, no cancellation point; a thread's entry in /proc is found under a fiber's id.
template <class... A>
[[gnu::always_inline]] inline long path_call(long number, int directory, const char* path,
                                             A... rest) {
    Fiber* fiber = calling_fiber();
    if (is_hidden(directory)) return result(-EBADF);
    const PredictedCall call(call_key(number, CALL_SITE));
    return result(call_on_path(fiber, directory, path, [&](int at, const char* name) {
        return fiber == nullptr ? host::raw_syscall(number, at, name, rest...)
                                : disk_call(fiber, call, number, at, name, rest...);
    }));
}

[[gnu::always_inline]] inline int status_of(int directory, const char* path, struct stat* status,
                                            int flags) {
    const auto rc = static_cast<int>(path_call(SYS_newfstatat, directory, path, status, flags));
    if (rc != 0) return rc;
    unsigned long links = status->st_nlink;
    count_threads(calling_fiber(), directory, path, &links);
    status->st_nlink = links;
    return rc;
}

// The same forms for a descriptor that the program may not have opened (D2).
template <class... A>
long file_call(long number, int fd, A... a) {
    return is_hidden(fd) ? result(-EBADF) : fd_call(number, fd, a...);
}
template <class... A>
long cancellable_file_call(long number, int fd, A... a) {
    return is_hidden(fd) ? result(-EBADF) : cancellable_fd_call(number, fd, a...);
}

}  // namespace

}  // namespace pfiber::interpose

extern "C" {
void __fortify_fail(const char*) __attribute__((noreturn));  // libc: reports and aborts
}

using namespace pfiber;
using namespace pfiber::interpose;

#define MODE_OF(last)                \
    mode_t mode = 0;                 \
    if (takes_mode(flags)) {         \
        va_list list;                \
        va_start(list, last);        \
        mode = va_arg(list, mode_t); \
        va_end(list);                \
    }

extern "C" {

int pf_open64(const char* path, int flags, ...) {
    MODE_OF(flags)
    return open_at_point(CALL_SITE, AT_FDCWD, path, flags, mode);
}
int pf_openat64(int directory, const char* path, int flags, ...) {
    MODE_OF(flags)
    return open_at_point(CALL_SITE, directory, path, flags, mode);
}
int pf_creat64(const char* path, mode_t mode) {
    return open_at_point(CALL_SITE, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int pf___open_nocancel(const char* path, int flags, ...) {
    MODE_OF(flags)
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr)
        return static_cast<int>(result(open_on(nullptr, 0, AT_FDCWD, path, flags, mode)));
    const shim::NoCancel guard(fiber);
    return static_cast<int>(result(open_on(fiber, CALL_SITE, AT_FDCWD, path, flags, mode)));
}
int pf___open64_2(const char* path, int flags) {
    if (takes_mode(flags)) __fortify_fail("invalid open call: O_CREAT or O_TMPFILE without mode");
    return open_at_point(CALL_SITE, AT_FDCWD, path, flags, 0);
}
int pf___openat64_2(int directory, const char* path, int flags) {
    if (takes_mode(flags)) __fortify_fail("invalid openat call: O_CREAT or O_TMPFILE without mode");
    return open_at_point(CALL_SITE, directory, path, flags, 0);
}

// ---- what waits for a disk, cancellable

int pf_fsync(int fd) { return static_cast<int>(cancellable_file_call(SYS_fsync, fd)); }
int pf_fdatasync(int fd) { return static_cast<int>(cancellable_file_call(SYS_fdatasync, fd)); }
int pf_msync(void* address, size_t size, int flags) {
    return static_cast<int>(cancellable_call(SYS_msync, address, size, flags));
}
int pf_sync_file_range(int fd, off64_t offset, off64_t size, unsigned flags) {
    return static_cast<int>(cancellable_file_call(SYS_sync_file_range, fd, offset, size, flags));
}
int pf_fallocate64(int fd, int mode, off64_t offset, off64_t size) {
    return static_cast<int>(cancellable_file_call(SYS_fallocate, fd, mode, offset, size));
}
ssize_t pf_getrandom(void* data, size_t size, unsigned flags) {
    return cancellable_call(SYS_getrandom, data, size, flags);
}

// ---- the same, no cancellation points

// Where a file system cannot, libc writes into every block.
int pf_posix_fallocate64(int fd, off64_t offset, off64_t size) {
    if (is_hidden(fd)) return EBADF;
    return in_region([&] { return real(posix_fallocate64)(fd, offset, size); });
}
int pf_posix_fadvise64(int fd, off64_t offset, off64_t size, int advice) {
    if (is_hidden(fd)) return EBADF;
    const int saved = errno;
    const long answer = short_call(SYS_fadvise64, fd, offset, size, advice);
    const int error = answer == 0 ? 0 : errno;
    errno = saved;
    return error;
}
int pf_getentropy(void* data, size_t size) {
    return in_region([&] { return real(getentropy)(data, size); });
}

int pf_syncfs(int fd) { return static_cast<int>(file_call(SYS_syncfs, fd)); }
void pf_sync() { short_call(SYS_sync); }
int pf_ftruncate64(int fd, off64_t size) {
    return static_cast<int>(file_call(SYS_ftruncate, fd, size));
}
int pf_truncate64(const char* path, off64_t size) {
    return static_cast<int>(short_call(SYS_truncate, path, size));
}
ssize_t pf_readahead(int fd, off64_t offset, size_t size) {
    return file_call(SYS_readahead, fd, offset, size);
}
int pf_stat(const char* path, struct stat* status) { return status_of(AT_FDCWD, path, status, 0); }
int pf_lstat(const char* path, struct stat* status) {
    return status_of(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
int pf_fstatat(int directory, const char* path, struct stat* status, int flags) {
    return status_of(directory, path, status, flags);
}
int pf_statx(int directory, const char* path, int flags, unsigned mask, struct statx* status) {
    return static_cast<int>(path_call(SYS_statx, directory, path, flags, mask, status));
}
int pf_statfs(const char* path, struct statfs* status) {
    return static_cast<int>(short_call(SYS_statfs, path, status));
}
int pf_fstatfs(int fd, struct statfs* status) {
    return static_cast<int>(file_call(SYS_fstatfs, fd, status));
}
ssize_t pf_getdents64(int fd, void* data, size_t size) {
    if (is_hidden(fd)) return result(-EBADF);
    if (size > INT_MAX) size = INT_MAX;  // as libc does; the kernel refuses more
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(list_directory(fd, data, size));
    enter_call(fiber);
    const long answer = list_directory(fd, data, size);
    exit_call(fiber);
    return result(answer);
}
ssize_t pf_readlink(const char* path, char* data, size_t size) {
    return pf_readlinkat(AT_FDCWD, path, data, size);
}
ssize_t pf_readlinkat(int directory, const char* path, char* data, size_t size) {
    const long answer = path_call(SYS_readlinkat, directory, path, data, size);
    Fiber* fiber = calling_fiber();
    if (answer < 0 || fiber == nullptr) return answer;
    const long link = read_self_link(fiber, directory, path, data, size);
    return link < 0 ? answer : link;
}
int pf_access(const char* path, int mode) {
    return static_cast<int>(path_call(SYS_faccessat, AT_FDCWD, path, mode));
}
int pf_faccessat(int directory, const char* path, int mode, int flags) {
    return static_cast<int>(file_call(SYS_faccessat2, directory, path, mode, flags));
}
int pf_rename(const char* from, const char* to) {
    return static_cast<int>(short_call(SYS_rename, from, to));
}
int pf_renameat(int from_directory, const char* from, int to_directory, const char* to) {
    return static_cast<int>(file_call(SYS_renameat, from_directory, from, to_directory, to));
}
int pf_renameat2(int from_directory, const char* from, int to_directory, const char* to,
                 unsigned flags) {
    return static_cast<int>(
        file_call(SYS_renameat2, from_directory, from, to_directory, to, flags));
}
int pf_link(const char* from, const char* to) {
    return static_cast<int>(short_call(SYS_link, from, to));
}
int pf_linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) {
    return static_cast<int>(file_call(SYS_linkat, from_directory, from, to_directory, to, flags));
}
int pf_symlink(const char* target, const char* path) {
    return static_cast<int>(short_call(SYS_symlink, target, path));
}
int pf_symlinkat(const char* target, int directory, const char* path) {
    return static_cast<int>(short_call(SYS_symlinkat, target, directory, path));
}
int pf_unlink(const char* path) { return static_cast<int>(short_call(SYS_unlink, path)); }
int pf_unlinkat(int directory, const char* path, int flags) {
    return static_cast<int>(file_call(SYS_unlinkat, directory, path, flags));
}
int pf_mkdir(const char* path, mode_t mode) {
    return static_cast<int>(short_call(SYS_mkdir, path, mode));
}
int pf_mkdirat(int directory, const char* path, mode_t mode) {
    return static_cast<int>(file_call(SYS_mkdirat, directory, path, mode));
}
int pf_rmdir(const char* path) { return static_cast<int>(short_call(SYS_rmdir, path)); }
int pf_chmod(const char* path, mode_t mode) {
    return static_cast<int>(short_call(SYS_chmod, path, mode));
}
int pf_fchmod(int fd, mode_t mode) { return static_cast<int>(file_call(SYS_fchmod, fd, mode)); }
// libc emulates AT_SYMLINK_NOFOLLOW.
int pf_fchmodat(int directory, const char* path, mode_t mode, int flags) {
    if (is_hidden(directory)) return static_cast<int>(result(-EBADF));
    return in_region([&] { return real(fchmodat)(directory, path, mode, flags); });
}
int pf_chown(const char* path, uid_t user, gid_t group) {
    return static_cast<int>(short_call(SYS_chown, path, user, group));
}
int pf_lchown(const char* path, uid_t user, gid_t group) {
    return static_cast<int>(short_call(SYS_lchown, path, user, group));
}
int pf_fchown(int fd, uid_t user, gid_t group) {
    return static_cast<int>(file_call(SYS_fchown, fd, user, group));
}
int pf_fchownat(int directory, const char* path, uid_t user, gid_t group, int flags) {
    return static_cast<int>(file_call(SYS_fchownat, directory, path, user, group, flags));
}

// ---- what waits for another program

int pf_flock(int fd, int operation) {
    if (is_hidden(fd)) return static_cast<int>(result(-EBADF));
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr || (operation & LOCK_NB) != 0)
        return static_cast<int>(result(host::raw_syscall(SYS_flock, fd, operation)));
    // Most locks are free; only one that is not costs a hand-off.
    const long tried = host::raw_syscall(SYS_flock, fd, operation | LOCK_NB);
    if (tried != -EWOULDBLOCK) return static_cast<int>(result(tried));
    const shim::NoCancel guard(fiber);
    return static_cast<int>(result(blocking_call(fiber, Restart::kYes, SYS_flock, fd, operation)));
}

// libc's translation: a lock from the present position on.
int pf_lockf64(int fd, int command, off64_t size) {
    struct flock lock {};
    lock.l_whence = SEEK_CUR;
    lock.l_len = size;
    lock.l_type = command == F_ULOCK ? F_UNLCK : F_WRLCK;
    switch (command) {
        case F_TEST:
            lock.l_type = F_RDLCK;
            if (pf_fcntl64(fd, F_GETLK, &lock) != 0) return -1;
            if (lock.l_type == F_UNLCK || lock.l_pid == host::raw_getpid()) return 0;
            errno = EACCES;
            return -1;
        case F_ULOCK:
        case F_TLOCK:
            return pf_fcntl64(fd, F_SETLK, &lock);
        case F_LOCK:
            return pf_fcntl64(fd, F_SETLKW, &lock);
        default:
            errno = EINVAL;
            return -1;
    }
}

}  // extern "C"
