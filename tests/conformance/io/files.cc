// Regular files: each positioned and 64-bit spelling, from several threads on one description;
// O_APPEND writes of many threads stay whole; sync calls, truncation, locks and directory reading
// beside blocked threads.
// expect: fibers>=14 native_fallbacks=0
#include "../../support/twin.h"
#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <atomic>

static char dir[] = "/tmp/pfiber-twin-XXXXXX", path[64];
static int fd;
static std::atomic<int> right;

static void* positioned(void* arg) {
    int i = (int)(intptr_t)arg;
    char b[16], back[16], two[16];
    off_t at = i * 1000;
    memset(b, 'A' + i, sizeof b);
    iovec v[2] = {{b, 8}, {b + 8, 8}}, w[2] = {{back, 3}, {back + 3, 13}};
    for (int round = 0; round < 100; round++) {
        ssize_t n;
        switch (round % 4) {
            case 0:
                n = pwrite(fd, b, 16, at);
                break;
            case 1:
                n = pwrite64(fd, b, 16, at);
                break;
            case 2:
                n = pwritev(fd, v, 2, at);
                break;
            default:
                n = pwritev2(fd, v, 2, at, 0);
                break;
        }
        CHECK(n == 16);
        memset(back, 0, sizeof back);
        switch (round / 4 % 5) {
            case 0:
                n = pread(fd, back, 16, at);
                break;
            case 1:
                n = pread64(fd, back, 16, at);
                break;
            case 2:
                n = preadv(fd, w, 2, at);
                break;
            case 3:
                n = preadv64(fd, w, 2, at);
                break;
            default:
                n = preadv2(fd, w, 2, at, 0);
                break;
        }
        right += n == 16 && memcmp(b, back, 16) == 0;
    }
    // The shared position is untouched by all this.
    CHECK(lseek(fd, 0, SEEK_CUR) == 0 && lseek64(fd, 0, SEEK_CUR) == 0);
    CHECK(pread(fd, two, 16, 1000000) == 0);
    return nullptr;
}
static void* appends(void* arg) {
    char line[32];
    memset(line, 'a' + (int)(intptr_t)arg, 31);
    line[31] = '\n';
    int own = open(path, O_WRONLY | O_APPEND);
    CHECK(own >= 0);
    for (int i = 0; i < 200; i++) CHECK(write(own, line, 32) == 32);
    CHECK(fdatasync(own) == 0);
    close(own);
    return nullptr;
}
static std::atomic<bool> refused, locked;
static void* waits_for_lock(void*) {
    int own = open(path, O_RDWR);
    CHECK(own >= 0 && flock(own, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK);
    refused = true;
    CHECK(flock(own, LOCK_EX) == 0);
    locked = true;
    close(own);
    return nullptr;
}

int main() {
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
    CHECK((fd = open64(path, O_RDWR | O_CREAT, 0600)) >= 0);
    pthread_t t[8];
    for (int i = 0; i < 8; i++) t[i] = start(positioned, (void*)(intptr_t)i);
    for (pthread_t one : t) finish(one);
    printf("%d positioned reads right\n", (int)right);
    CHECK(ftruncate(fd, 0) == 0);
    for (int i = 0; i < 5; i++) t[i] = start(appends, (void*)(intptr_t)i);
    for (int i = 0; i < 5; i++) finish(t[i]);
    FILE* f = fopen64(path, "r");
    CHECK(f);
    char line[64];
    int whole = 0;
    while (fgets(line, sizeof line, f)) {
        const char same[2] = {line[0], 0};
        whole += strspn(line, same) == 31 && strlen(line) == 32;
    }
    fclose(f);
    printf("%d whole lines\n", whole);
    CHECK(flock(fd, LOCK_EX) == 0);
    t[0] = start(waits_for_lock, nullptr);
    while (!refused) nap(1);
    nap(20);
    CHECK(!locked);
    CHECK(flock(fd, LOCK_UN) == 0);
    finish(t[0]);
    struct stat s;
    struct statvfs vfs;
    CHECK(locked && fsync(fd) == 0 && stat(path, &s) == 0 && s.st_size == 5 * 200 * 32);
    CHECK(fstatat(AT_FDCWD, path, &s, 0) == 0 && statvfs(dir, &vfs) == 0);
    CHECK(posix_fallocate(fd, 0, 100000) == 0 && fstat(fd, &s) == 0 && s.st_size == 100000);
    CHECK(rename(path, dir) == -1);
    int entries = 0;
    DIR* d = opendir(dir);
    CHECK(d);
    while (readdir(d)) entries++;
    closedir(d);
    CHECK(entries == 3 && unlink(path) == 0 && rmdir(dir) == 0);
    char b[4];
    CHECK(read(fd, b, 4) == 4 && pread(fd, b, 4, -1) == -1 && errno == EINVAL);
    CHECK(read(9999, b, 4) == -1 && errno == EBADF);
    const void* volatile nowhere = (const void*)8;
    CHECK(write(fd, nowhere, 4) == -1 && errno == EFAULT);
    return right != 800 || whole != 1000;
}
