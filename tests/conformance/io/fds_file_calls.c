// A number that the program did not open is closed for every call on files, also when something of
// the runtime's is there: EBADF, and nothing happens to it.
// expect: fibers>=1 native_fallbacks=0
#include "../../support/twin.h"

#include <dirent.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <termios.h>

static void refused(int n, int epoll) {
    char data[64];
    struct stat s;
    struct statx x;
    struct statfs f;
    struct termios t;
    struct epoll_event event = {.events = EPOLLIN};
    CHECK_ERRNO(fsync(n), EBADF);
    CHECK_ERRNO(fdatasync(n), EBADF);
    CHECK_ERRNO(syncfs(n), EBADF);
    CHECK_ERRNO(sync_file_range(n, 0, 1, 0), EBADF);
    CHECK_ERRNO(readahead(n, 0, 1), EBADF);
    CHECK_ERRNO(ftruncate(n, 0), EBADF);
    CHECK_ERRNO(fallocate(n, 0, 0, 1), EBADF);
    CHECK_RC(posix_fallocate(n, 0, 1), EBADF);
    CHECK_RC(posix_fadvise(n, 0, 1, POSIX_FADV_NORMAL), EBADF);
    CHECK_ERRNO(fstat(n, &s), EBADF);
    CHECK_ERRNO(fstatat(n, "", &s, AT_EMPTY_PATH), EBADF);
    CHECK_ERRNO(statx(n, "", AT_EMPTY_PATH, 0, &x), EBADF);
    CHECK_ERRNO(fstatfs(n, &f), EBADF);
    CHECK_ERRNO(getdents64(n, data, sizeof data), EBADF);
    CHECK_ERRNO(fchmod(n, 0600), EBADF);
    CHECK_ERRNO(fchown(n, (uid_t)-1, (gid_t)-1), EBADF);
    CHECK_ERRNO(flock(n, LOCK_SH), EBADF);
    CHECK_ERRNO(lockf(n, F_TEST, 1), EBADF);
    CHECK_ERRNO(openat(n, "x", O_RDONLY), EBADF);
    CHECK_ERRNO(mkdirat(n, "x", 0700), EBADF);
    CHECK_ERRNO(unlinkat(n, "x", 0), EBADF);
    CHECK_ERRNO(readlinkat(n, "x", data, sizeof data), EBADF);
    CHECK_ERRNO(faccessat(n, "x", F_OK, 0), EBADF);
    CHECK_ERRNO(fchmodat(n, "x", 0600, 0), EBADF);
    CHECK_ERRNO(fchownat(n, "x", (uid_t)-1, (gid_t)-1, 0), EBADF);
    CHECK_ERRNO(ioctl(n, FIONREAD, data), EBADF);
    CHECK_ERRNO(tcdrain(n), EBADF);
    memset(&t, 0, sizeof t);
    CHECK_ERRNO(tcsetattr(n, TCSADRAIN, &t), EBADF);
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, n, &event), EBADF);
    CHECK_ERRNO(epoll_ctl(n, EPOLL_CTL_ADD, epoll, &event), EBADF);
    CHECK_ERRNO(dup(n), EBADF);
    CHECK_ERRNO(dup3(n, epoll, 0), EBADF);
    CHECK_ERRNO(fcntl(n, F_GETFD), EBADF);
    CHECK_ERRNO(close(n), EBADF);
}

static void* nothing(void* unused) {
    nap(1);
    return unused;
}

int main(void) {
    finish(start(nothing, NULL));
    struct rlimit limit;
    const int epoll = epoll_create1(0);
    CHECK(epoll >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0);
    const int most = limit.rlim_cur < 100000 ? (int)limit.rlim_cur : 100000;
    int closed = 0;
    for (int n = epoll + 1; n < most; n++) {
        char name[32], target[32];
        snprintf(name, sizeof name, "/proc/self/fd/%d", n);
        const int is_there = syscall(SYS_readlink, name, target, sizeof target) > 0;
        if (fcntl(n, F_GETFD) != -1 || (!is_there && closed > 0)) continue;
        if (!is_there) closed++;
        refused(n, epoll);
    }
    finish(start(nothing, NULL));
    printf("%d closed\n", closed);
    return 0;
}
