// Every call on the bytes of a file, each spelling once with success and once with an error that
// its manual page names.
// expect: fibers>=1 native_fallbacks=0 missed_blocking=0 calls>=97 handoffs>=4
#include "../../support/twin.h"

#include <dirent.h>
#include <dlfcn.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static char path[] = "/tmp/pfiber-twin-XXXXXX";
static int fd, reads_only, pipes[2];

static long size_now(void) {
    struct stat s;
    memset(&s, 0, sizeof s);
    CHECK(fstat(fd, &s) == 0);
    return (long)s.st_size;
}

static void sizes(void) {
    CHECK(ftruncate(fd, 100) == 0 && size_now() == 100);
    CHECK_ERRNO(ftruncate(reads_only, 1), EINVAL);
    CHECK(ftruncate64(fd, 101) == 0 && size_now() == 101);
    CHECK_ERRNO(ftruncate64(-1, 1), EBADF);
    CHECK(fallocate(fd, 0, 0, 4096) == 0 && size_now() == 4096);
    CHECK_ERRNO(fallocate(fd, 0, 0, 0), EINVAL);
    CHECK(fallocate64(fd, 0, 0, 4097) == 0 && size_now() == 4097);
    CHECK_ERRNO(fallocate64(pipes[1], 0, 0, 1), ESPIPE);
    errno = 1234;
    CHECK(posix_fallocate(fd, 0, 5000) == 0 && size_now() == 5000 && errno == 1234);
    CHECK_RC(posix_fallocate(fd, -1, 1), EINVAL);
    CHECK(posix_fallocate64(fd, 0, 5001) == 0 && size_now() == 5001);
    CHECK_RC(posix_fallocate64(-1, 0, 1), EBADF);
    errno = 1234;
    CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    CHECK_RC(posix_fadvise(pipes[0], 0, 0, POSIX_FADV_NORMAL), ESPIPE);
    CHECK(posix_fadvise64(fd, 0, 0, POSIX_FADV_WILLNEED) == 0);
    CHECK_RC(posix_fadvise64(-1, 0, 0, POSIX_FADV_NORMAL), EBADF);
    CHECK_EQ(errno, 1234);
    struct stat64 s64;
    struct statfs f;
    struct statfs64 f64;
    CHECK(fstat64(fd, &s64) == 0 && s64.st_size == 5001);
    CHECK_ERRNO(fstat64(-1, &s64), EBADF);
    CHECK(fstatfs(fd, &f) == 0 && f.f_bsize > 0);
    CHECK_ERRNO(fstatfs(-1, &f), EBADF);
    CHECK(fstatfs64(fd, &f64) == 0 && f64.f_bsize == f.f_bsize);
    CHECK_ERRNO(fstatfs64(-1, &f64), EBADF);
    CHECK(fchmod(fd, 0640) == 0 && fstat64(fd, &s64) == 0 && (s64.st_mode & 0777) == 0640);
    CHECK_ERRNO(fchmod(-1, 0600), EBADF);
    CHECK(fchown(fd, (uid_t)-1, getgid()) == 0);
    CHECK_ERRNO(fchown(-1, (uid_t)-1, getgid()), EBADF);
    puts("sizes");
}

static void syncs(void) {
    CHECK(fsync(fd) == 0 && fdatasync(fd) == 0 && syncfs(fd) == 0);
    CHECK_ERRNO(fsync(pipes[0]), EINVAL);
    CHECK_ERRNO(fdatasync(-1), EBADF);
    CHECK_ERRNO(syncfs(-1), EBADF);
    sync();
    CHECK(sync_file_range(fd, 0, 100, SYNC_FILE_RANGE_WRITE) == 0);
    CHECK_ERRNO(sync_file_range(pipes[0], 0, 1, 0), ESPIPE);
    CHECK(readahead(fd, 0, 100) == 0);
    CHECK_ERRNO(readahead(pipes[0], 0, 100), EINVAL);
    void* map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    memset(map, 'm', 4096);
    CHECK(msync(map, 4096, MS_SYNC) == 0);
    CHECK_ERRNO(msync((char*)map + 1, 4096, MS_SYNC), EINVAL);
    CHECK(munmap(map, 4096) == 0);
    puts("syncs");
}

typedef ssize_t at_function(int, void*, size_t, off64_t);
typedef ssize_t pread_chk_function(int, void*, size_t, off64_t, size_t);

static void positions(void) {
    char out[8] = "position", in[8];
    struct iovec two[2] = {{out, 3}, {out + 3, 5}}, back[2] = {{in, 4}, {in + 4, 4}};
    const char* writes[] = {"pwrite", "pwrite64", "__pwrite64", "__libc_pwrite"};
    for (int i = 0; i < COUNT(writes); i++) {
        at_function* call = (at_function*)dlsym(RTLD_DEFAULT, writes[i]);
        CHECK(call != NULL);
        out[0] = (char)('0' + i);
        CHECK(call(fd, out, 8, 10 * i) == 8 && pread(fd, in, 8, 10 * i) == 8);
        CHECK(memcmp(in, out, 8) == 0);
        CHECK_ERRNO(call(pipes[1], out, 8, 0), ESPIPE);
    }
    const char* reads[] = {"pread", "pread64", "__pread64", "__libc_pread", "__pread64_nocancel"};
    for (int i = 0; i < COUNT(reads); i++) {
        at_function* call = (at_function*)dlsym(RTLD_DEFAULT, reads[i]);
        CHECK(call != NULL);
        memset(in, 0, sizeof in);
        CHECK(call(fd, in, 8, 30) == 8 && memcmp(in, out, 8) == 0);
        CHECK_ERRNO(call(pipes[0], in, 8, 0), ESPIPE);
    }
    const char* checked[] = {"__pread_chk", "__pread64_chk"};
    for (int i = 0; i < COUNT(checked); i++) {
        pread_chk_function* call = (pread_chk_function*)dlsym(RTLD_DEFAULT, checked[i]);
        CHECK(call != NULL);
        memset(in, 0, sizeof in);
        CHECK(call(fd, in, 8, 30, sizeof in) == 8 && memcmp(in, out, 8) == 0);
    }
#define VECTORS(write_call, read_call, ...)                               \
    out[0]++;                                                             \
    CHECK(write_call(fd, two, 2, 50, ##__VA_ARGS__) == 8);                \
    memset(in, 0, sizeof in);                                             \
    CHECK(read_call(fd, back, 2, 50, ##__VA_ARGS__) == 8);                \
    CHECK(memcmp(in, out, 8) == 0);                                       \
    CHECK_ERRNO(write_call(reads_only, two, 2, 0, ##__VA_ARGS__), EBADF); \
    CHECK_ERRNO(read_call(-1, back, 2, 0, ##__VA_ARGS__), EBADF)
    VECTORS(pwritev, preadv);
    VECTORS(pwritev64, preadv64);
    VECTORS(pwritev2, preadv2, 0);
    VECTORS(pwritev64v2, preadv64v2, 0);
    CHECK_ERRNO(pwritev2(fd, two, 2, 0, 0x40000000), EOPNOTSUPP);
    CHECK_ERRNO(preadv2(fd, back, 2, 0, 0x40000000), EOPNOTSUPP);
    int to = fd;
    off64_t from = 50, here = 200;
    CHECK(copy_file_range(fd, &from, to, &here, 8, 0) == 8 && from == 58 && here == 208);
    CHECK(pread(to, in, 8, 200) == 8 && memcmp(in, out, 8) == 0);
    CHECK_ERRNO(copy_file_range(fd, NULL, to, NULL, 8, 0x40000000), EINVAL);
    puts("positions");
}

static void others(void) {
    static char data[4096];
    int d = open("/", O_RDONLY | O_DIRECTORY);
    CHECK(d >= 0 && getdents64(d, data, sizeof data) > 0 && close(d) == 0);
    // Few entries; libc takes sizes that the kernel refuses.
    CHECK((d = open("/proc/self/ns", O_RDONLY | O_DIRECTORY)) >= 0);
    CHECK(getdents64(d, data, (size_t)1 << 31) > 0 && close(d) == 0);
    CHECK_ERRNO(getdents64(fd, data, sizeof data), ENOTDIR);
    memset(data, 0, 64);
    CHECK(getrandom(data, 64, 0) == 64);
    int zeros = 0;
    for (int i = 0; i < 64; i++) zeros += data[i] == 0;
    CHECK_LT(zeros, 16);
    CHECK_ERRNO(getrandom(data, 1, 0x4000), EINVAL);
    memset(data, 0, 64);
    CHECK(getentropy(data, 64) == 0);
    zeros = 0;
    for (int i = 0; i < 64; i++) zeros += data[i] == 0;
    CHECK_LT(zeros, 16);
    CHECK_ERRNO(getentropy(data, 257), EIO);
    int waiting = -1;
    CHECK(write(pipes[1], "abc", 3) == 3 && ioctl(pipes[0], FIONREAD, &waiting) == 0);
    CHECK(waiting == 3 && read(pipes[0], data, 3) == 3);
    CHECK_ERRNO(ioctl(fd, TIOCGWINSZ, data), ENOTTY);
    puts("others");
}

static void* holds_lock(void* arg) {
    sem_t* held = arg;
    int own = open(path, O_RDWR);
    CHECK(own >= 0 && flock(own, LOCK_EX) == 0);
    sem_post(held);
    nap(20);
    CHECK(flock(own, LOCK_UN) == 0 && close(own) == 0);
    return NULL;
}

static void* holds_record(void* arg) {
    sem_t* held = arg;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int own = open(path, O_RDWR);
    CHECK(own >= 0 && fcntl(own, F_OFD_SETLK, &whole) == 0);
    sem_post(held);
    nap(20);
    CHECK(close(own) == 0);
    return NULL;
}

static void locks(void) {
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK(lockf(fd, F_LOCK, 10) == 0 && lockf64(fd, F_TLOCK, 20) == 0);
    CHECK(lockf(fd, F_TEST, 10) == 0);
    CHECK(lockf64(fd, F_ULOCK, 0) == 0);
    CHECK_ERRNO(lockf(fd, 99, 0), EINVAL);
    CHECK_ERRNO(lockf64(-1, F_LOCK, 0), EBADF);
    sem_t held;
    CHECK_OK(sem_init(&held, 0, 0));
    pthread_t holder = start(holds_lock, &held);
    wait_sem(&held);
    CHECK_ERRNO(flock(fd, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    CHECK(flock(fd, LOCK_EX) == 0 && flock(fd, LOCK_UN) == 0);
    finish(holder);
    CHECK_ERRNO(flock(fd, 0), EINVAL);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    holder = start(holds_record, &held);
    wait_sem(&held);
    CHECK_ERRNO(fcntl(fd, F_OFD_SETLK, &whole), EAGAIN);
    CHECK(fcntl(fd, F_OFD_SETLKW, &whole) == 0);
    whole.l_type = F_UNLCK;
    CHECK(fcntl(fd, F_OFD_SETLK, &whole) == 0);
    finish(holder);
    puts("locks");
}

static void* all(void* unused) {
    (void)unused;
    sizes();
    syncs();
    positions();
    others();
    locks();
    return NULL;
}

int main(void) {
    CHECK((fd = mkstemp(path)) >= 0 && (reads_only = open(path, O_RDONLY)) >= 0);
    CHECK(pipe(pipes) == 0);
    finish(start(all, NULL));
    CHECK(unlink(path) == 0);
    return 0;
}
