// dup2 and dup3 onto every high number below the limit succeed, are the program's, and survive
// while threads block and run; the same holds for closing them again.
// limit: 20
// expect: fibers>=4 native_fallbacks=0
#include "../../support/twin.h"
#include <sys/resource.h>
#include <sys/stat.h>

static void* keeps_waiting(void* arg) { return twin_ponger(arg); }

int main(void) {
    struct rlimit r;
    CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
    r.rlim_cur = r.rlim_max < 1024 ? r.rlim_max : 1024;
    CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
    int top = (int)r.rlim_cur, fds[4][2];
    for (int fd = 3; fd < top; fd++) close(fd);  // whatever this program was started with
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        unix_pair(fds[i]);
        t[i] = start(keeps_waiting, (void*)(intptr_t)fds[i][1]);
    }
    nap(10);
    int file = open("/proc/self/exe", O_RDONLY);
    struct stat want, have;
    CHECK(file >= 0 && fstat(file, &want) == 0);
    int high = 0;
    for (int n = top - 200; n < top; n++) {
        CHECK((n % 2 ? dup2(file, n) : dup3(file, n, O_CLOEXEC)) == n);
        high++;
    }
    CHECK(dup2(file, top) == -1 && errno == EBADF);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 4; i++) {
            unsigned char c = 'a';
            put(fds[i][0], &c, 1);
            CHECK(take(fds[i][0], &c, 1) == 1 && c == 'b');
        }
    }
    for (int n = top - 200; n < top; n++) {
        CHECK(fstat(n, &have) == 0 && have.st_ino == want.st_ino);
        CHECK(((fcntl(n, F_GETFD) & FD_CLOEXEC) != 0) == (n % 2 == 0));
    }
    // All numbers taken: EMFILE, as for everybody.
    int last = 0, n;
    while ((n = dup(file)) >= 0) last++;
    CHECK(errno == EMFILE && last > 0);
    CHECK(socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EMFILE);
    for (int i = 0; i < 4; i++) {
        unsigned char c = 'c';
        put(fds[i][0], &c, 1);
        CHECK(take(fds[i][0], &c, 1) == 1 && c == 'd');
    }
    int closed = 0;
    for (n = file; n < top; n++) closed += close(n) == 0;
    CHECK(closed == last + high + 1);
    CHECK(open("/dev/null", O_RDONLY) == file);
    for (int i = 0; i < 4; i++) close(fds[i][0]);
    for (int i = 0; i < 4; i++) finish(t[i]);
    CHECK(pingpong(4, 4) == 16);
    printf("%d high numbers, all below %d in use\n", high, top);
    return 0;
}
