// Descriptors that the program made non-blocking (O_NONBLOCK, SOCK_NONBLOCK, FIONBIO, accept4,
// pipe2) answer EAGAIN at once and keep their flag; clearing it makes them block again.
// expect: fibers>=1 native_fallbacks=0 locked=0
#include "../../support/twin.h"
#include <sys/eventfd.h>
#include <sys/ioctl.h>

static void* late(void* arg) {
    nap(20);
    put((int)(intptr_t)arg, "z", 1);
    return NULL;
}

int main(void) {
    int fds[2], eagain = 0;
    char b[1 << 16];
    memset(b, 0, sizeof b);
    CHECK(pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0);
    CHECK(read(fds[0], b, 1) == -1 && errno == EAGAIN && ++eagain);
    while (write(fds[1], b, sizeof b) > 0) {
    }
    CHECK(errno == EAGAIN && ++eagain);
    CHECK((fcntl(fds[0], F_GETFL) & O_NONBLOCK) && (fcntl(fds[0], F_GETFD) & FD_CLOEXEC));
    // Longer than PIPE_BUF: as much as fits, never all of it.
    CHECK(read(fds[0], b, 8192) == 8192);
    ssize_t part = write(fds[1], b, sizeof b);
    CHECK(part > 0 && part < (ssize_t)sizeof b);

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    CHECK(recv(fds[0], b, 1, 0) == -1 && errno == EAGAIN && ++eagain);
    CHECK(recv(fds[0], b, 1, MSG_WAITALL) == -1 && errno == EAGAIN && ++eagain);
    int total = 0;
    ssize_t n;
    while ((n = send(fds[1], b, sizeof b, 0)) > 0) total += (int)n;
    CHECK(errno == EAGAIN && ++eagain && total > 0);

    int listener = tcp_listen(4), on = 1, off = 0;
    CHECK(ioctl(listener, FIONBIO, &on) == 0 && (fcntl(listener, F_GETFL) & O_NONBLOCK));
    CHECK(accept(listener, NULL, NULL) == -1 && errno == EAGAIN && ++eagain);
    int client = tcp_connect(port_of(listener));
    struct pollfd p = {listener, POLLIN, 0};
    CHECK(poll(&p, 1, 5000) == 1);
    int server = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(server >= 0 && (fcntl(server, F_GETFL) & O_NONBLOCK));
    CHECK((fcntl(server, F_GETFD) & FD_CLOEXEC));
    CHECK(read(server, b, 1) == -1 && errno == EAGAIN && ++eagain);
    CHECK((fcntl(client, F_GETFL) & O_NONBLOCK) == 0);

    // Made blocking again, the same descriptor waits.
    CHECK(ioctl(server, FIONBIO, &off) == 0 && (fcntl(server, F_GETFL) & O_NONBLOCK) == 0);
    pthread_t t = start(late, (void*)(intptr_t)client);
    CHECK(read(server, b, 1) == 1 && b[0] == 'z');
    finish(t);
    CHECK(fcntl(server, F_SETFL, O_NONBLOCK) == 0);
    CHECK(read(server, b, 1) == -1 && errno == EAGAIN && ++eagain);

    int e = eventfd(0, EFD_NONBLOCK);
    uint64_t value;
    CHECK(read(e, &value, 8) == -1 && errno == EAGAIN && ++eagain);
    CHECK(eventfd_write(e, UINT64_MAX - 1) == 0);
    CHECK(eventfd_write(e, 1) == -1 && errno == EAGAIN && ++eagain);
    printf("EAGAIN %d times\n", eagain);
    return 0;
}
