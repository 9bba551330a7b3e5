// After threads exist and block, every call that makes a descriptor gets the lowest free number,
// exactly as in a program without threads.
// expect: fibers>=8 native_fallbacks=0
#include "../../support/twin.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static int numbers;
static void expect(int fd, int number) {
    CHECK(fd == number);
    numbers++;
}

int main(void) {
    for (int fd = 3; fd < 1024; fd++) close(fd);
    expect(open("/dev/null", O_RDONLY), 3);
    // Threads start and wait: whatever the runtime opens now is not in the program's way.
    int fds[8][2], next = 4;
    pthread_t t[8];
    for (int i = 0; i < 8; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]) == 0);
        expect(fds[i][0], next++);
        expect(fds[i][1], next++);
        t[i] = start(twin_ponger, (void*)(intptr_t)fds[i][1]);
    }
    nap(30);
    for (int i = 0; i < 8; i++) {
        unsigned char c = 1;
        put(fds[i][0], &c, 1);
        CHECK(take(fds[i][0], &c, 1) == 1 && c == 2);
    }
    sigset_t s;
    sigemptyset(&s);
    int first = next, p[2];
    expect(open("/dev/null", O_RDONLY), next++);
    expect(openat(AT_FDCWD, "/", O_DIRECTORY), next++);
    expect(socket(AF_INET, SOCK_STREAM, 0), next++);
    expect(eventfd(0, 0), next++);
    expect(timerfd_create(CLOCK_MONOTONIC, 0), next++);
    expect(epoll_create1(0), next++);
    expect(signalfd(-1, &s, 0), next++);
    expect(inotify_init(), next++);
    expect(memfd_create("twin", 0), next++);
    CHECK(pipe(p) == 0);
    expect(p[0], next++);
    expect(p[1], next++);
    expect(dup(0), next++);
    FILE* f = fopen("/dev/null", "r");
    CHECK(f);
    expect(fileno(f), next++);
    int listener = tcp_listen(2);
    expect(listener, next++);
    int c = tcp_connect(port_of(listener));
    expect(c, next++);
    expect(accept(listener, NULL, NULL), next++);
    // Holes are filled from below.
    close(first + 2);
    close(first + 5);
    expect(dup(1), first + 2);
    expect(open("/dev/null", O_WRONLY), first + 5);
    expect(fcntl(0, F_DUPFD, 3), next++);
    expect(fcntl(0, F_DUPFD, 500), 500);
    expect(fcntl(0, F_DUPFD_CLOEXEC, 500), 501);
    for (int i = 0; i < 8; i++) close(fds[i][0]);
    for (int i = 0; i < 8; i++) finish(t[i]);
    expect(dup(0), 4);
    expect(dup(0), 5);
    printf("%d numbers right, next was %d\n", numbers, next);
    return 0;
}
