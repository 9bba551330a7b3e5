// Every call that takes a path, each spelling once with success and once with an error that its
// manual page names; none of them may block the other threads for longer than the disk does.
// expect: fibers>=1 native_fallbacks=0 missed_blocking=0 calls>=126
#include "../../support/twin.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static char dir[] = "/tmp/pfiber-twin-XXXXXX";
static int at;  // the directory, opened

static long size_of(const char* name) {
    struct stat s;
    CHECK(fstatat(at, name, &s, AT_SYMLINK_NOFOLLOW) == 0);
    return (long)s.st_size;
}
static unsigned mode_of(const char* name) {
    struct stat s;
    CHECK(lstat(name, &s) == 0);
    return s.st_mode & 07777;
}
static int closed(int fd) {
    CHECK(fd >= 0);
    return close(fd);
}

typedef int open_function(const char*, int, ...);
typedef int openat_function(int, const char*, int, ...);

static void opens(void) {
    CHECK(closed(open("a", O_CREAT | O_EXCL | O_RDWR, 0640)) == 0 && mode_of("a") == 0640);
    CHECK_ERRNO(open("a", O_CREAT | O_EXCL | O_RDWR, 0640), EEXIST);
    CHECK(closed(open64("a", O_RDONLY)) == 0);
    CHECK_ERRNO(open64("none", O_RDONLY), ENOENT);
    CHECK(closed(openat(at, "b", O_CREAT | O_WRONLY, 0600)) == 0 && mode_of("b") == 0600);
    CHECK_ERRNO(openat(at, "b", O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK(closed(openat64(at, "b", O_RDONLY)) == 0);
    CHECK_ERRNO(openat64(-1, "b", O_RDONLY), EBADF);
    CHECK(closed(creat("c", 0600)) == 0 && closed(creat64("c", 0600)) == 0);
    CHECK_ERRNO(creat(".", 0600), EISDIR);
    CHECK_ERRNO(creat64("none/c", 0600), ENOENT);
    const char* names[] = {"__open",     "__open64",        "__open_2",
                           "__open64_2", "__open_nocancel", "__open64_nocancel"};
    for (int i = 0; i < COUNT(names); i++) {
        open_function* call = (open_function*)dlsym(RTLD_DEFAULT, names[i]);
        CHECK(call != NULL);
        CHECK(closed(call("a", O_RDONLY)) == 0);
        CHECK_ERRNO(call("none", O_RDONLY), ENOENT);
    }
    const char* at_names[] = {"__openat_2", "__openat64_2"};
    for (int i = 0; i < COUNT(at_names); i++) {
        openat_function* call = (openat_function*)dlsym(RTLD_DEFAULT, at_names[i]);
        CHECK(call != NULL);
        CHECK(closed(call(at, "a", O_RDONLY)) == 0);
        CHECK_ERRNO(call(at, "none", O_RDONLY), ENOENT);
    }
    puts("opens");
}

static void looks(void) {
    struct stat s;
    struct stat64 s64;
    struct statx x;
    struct statfs f;
    struct statfs64 f64;
    memset(&s, 0, sizeof s);
    CHECK(truncate("a", 10) == 0 && stat("a", &s) == 0 && s.st_size == 10);
    CHECK_ERRNO(truncate("none", 1), ENOENT);
    CHECK_ERRNO(stat("none", &s), ENOENT);
    CHECK(truncate64("a", 11) == 0 && stat64("a", &s64) == 0 && s64.st_size == 11);
    CHECK_ERRNO(truncate64("a", -1), EINVAL);
    CHECK_ERRNO(stat64("a/none", &s64), ENOTDIR);
    CHECK(symlink("a", "link") == 0 && lstat("link", &s) == 0 && S_ISLNK(s.st_mode));
    CHECK_ERRNO(symlink("a", "link"), EEXIST);
    CHECK_ERRNO(lstat("none", &s), ENOENT);
    CHECK(lstat64("link", &s64) == 0 && s64.st_size == 1);
    CHECK_ERRNO(lstat64("none", &s64), ENOENT);
    CHECK(fstatat64(at, "link", &s64, 0) == 0 && s64.st_size == 11);
    CHECK_ERRNO(fstatat(at, "a", &s, 0x40000000), EINVAL);
    CHECK_ERRNO(fstatat64(at, "none", &s64, 0), ENOENT);
    CHECK(statx(at, "a", 0, STATX_SIZE, &x) == 0 && x.stx_size == 11);
    CHECK_ERRNO(statx(at, "none", 0, STATX_SIZE, &x), ENOENT);
    CHECK(statfs(".", &f) == 0 && f.f_bsize > 0);
    CHECK_ERRNO(statfs("none", &f), ENOENT);
    CHECK(statfs64(".", &f64) == 0 && f64.f_bsize == f.f_bsize);
    CHECK_ERRNO(statfs64("none", &f64), ENOENT);
    char target[8] = "";
    CHECK(symlinkat("bb", at, "link2") == 0 && readlink("link2", target, sizeof target) == 2);
    CHECK(memcmp(target, "bb", 2) == 0);
    CHECK_ERRNO(symlinkat("bb", at, "link2"), EEXIST);
    CHECK_ERRNO(readlink("a", target, sizeof target), EINVAL);
    CHECK(readlinkat(at, "link", target, sizeof target) == 1 && target[0] == 'a');
    CHECK_ERRNO(readlinkat(at, "none", target, sizeof target), ENOENT);
    CHECK(access("a", R_OK) == 0);
    CHECK_ERRNO(access("none", F_OK), ENOENT);
    CHECK(faccessat(at, "a", W_OK, 0) == 0 &&
          faccessat(at, "link", F_OK, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK(faccessat(at, "a", R_OK, AT_EACCESS) == 0);
    CHECK_ERRNO(faccessat(at, "a", X_OK, 0), EACCES);
    CHECK_ERRNO(faccessat(at, "a", F_OK, 0x40000000), EINVAL);
    puts("looks");
}

static void modes(void) {
    CHECK(chmod("a", 0600) == 0 && mode_of("a") == 0600);
    CHECK_ERRNO(chmod("none", 0600), ENOENT);
    CHECK(fchmodat(at, "a", 0644, 0) == 0 && mode_of("a") == 0644);
    CHECK_ERRNO(fchmodat(at, "link", 0600, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
    CHECK_ERRNO(fchmodat(at, "a", 0600, 0x40000000), EINVAL);
    CHECK(chown("a", (uid_t)-1, getgid()) == 0);
    CHECK_ERRNO(chown("none", (uid_t)-1, getgid()), ENOENT);
    CHECK(lchown("link", (uid_t)-1, getgid()) == 0);
    CHECK_ERRNO(lchown("none", (uid_t)-1, getgid()), ENOENT);
    CHECK(fchownat(at, "link", (uid_t)-1, getgid(), AT_SYMLINK_NOFOLLOW) == 0);
    CHECK_ERRNO(fchownat(at, "none", (uid_t)-1, getgid(), 0), ENOENT);
    puts("modes");
}

static void moves(void) {
    CHECK(rename("c", "d") == 0);
    CHECK_ERRNO(rename("c", "d"), ENOENT);
    CHECK(renameat(at, "d", at, "e") == 0);
    CHECK_ERRNO(renameat(at, "d", at, "e"), ENOENT);
    CHECK(renameat2(at, "e", at, "f", RENAME_NOREPLACE) == 0);
    CHECK_ERRNO(renameat2(at, "a", at, "f", RENAME_NOREPLACE), EEXIST);
    CHECK(link("a", "hard") == 0 && size_of("hard") == 11);
    CHECK_ERRNO(link("none", "hard2"), ENOENT);
    CHECK(linkat(at, "a", at, "hard2", 0) == 0 && size_of("hard2") == 11);
    CHECK_ERRNO(linkat(at, "a", at, "hard", 0), EEXIST);
    CHECK(mkdir("m", 0700) == 0 && mkdirat(at, "m2", 0700) == 0 && mode_of("m2") == 0700);
    CHECK_ERRNO(mkdir("m", 0700), EEXIST);
    CHECK_ERRNO(mkdirat(-1, "m3", 0700), EBADF);
    CHECK(unlink("hard") == 0);
    CHECK_ERRNO(unlink("hard"), ENOENT);
    CHECK(unlinkat(at, "m2", AT_REMOVEDIR) == 0);
    CHECK_ERRNO(unlinkat(at, "m", 0), EISDIR);
    CHECK(closed(creat("m/x", 0600)) == 0);
    CHECK_ERRNO(rmdir("m"), ENOTEMPTY);
    CHECK(unlink("m/x") == 0 && rmdir("m") == 0);
    puts("moves");
}

static void* all(void* unused) {
    (void)unused;
    opens();
    looks();
    modes();
    moves();
    return NULL;
}

int main(void) {
    umask(0);
    CHECK(mkdtemp(dir) && chdir(dir) == 0);
    CHECK((at = open(".", O_RDONLY | O_DIRECTORY)) >= 0);
    finish(start(all, NULL));
    const char* left[] = {"a", "b", "f", "link", "link2", "hard2"};
    for (int i = 0; i < COUNT(left); i++) CHECK(unlink(left[i]) == 0);
    CHECK(rmdir(dir) == 0);
    return 0;
}
