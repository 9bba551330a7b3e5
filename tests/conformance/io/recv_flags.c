// MSG_WAITALL waits for the whole length, MSG_PEEK leaves the data, MSG_DONTWAIT never waits,
// MSG_TRUNC tells a datagram's length; zero lengths and end of file in between.
// expect: fibers>=4 native_fallbacks=0 locked=0
#include "../../support/twin.h"

static void* in_pieces(void* arg) {
    int fd = (int)(intptr_t)arg;
    for (int i = 0; i < 10; i++) {
        put(fd, "0123456789", 10);
        nap(3);
    }
    return NULL;
}

static void* pieces_then_close(void* arg) {
    int fd = (int)(intptr_t)arg;
    put(fd, "01234", 5);
    nap(10);
    put(fd, "56", 2);
    close(fd);
    return NULL;
}

static void stream(int fds[2], const char* name) {
    char b[128];
    CHECK(recv(fds[0], b, sizeof b, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    pthread_t t = start(in_pieces, (void*)(intptr_t)fds[1]);
    CHECK(recv(fds[0], b, 1, MSG_PEEK) == 1 && b[0] == '0');
    CHECK(recv(fds[0], b, 1, MSG_PEEK) == 1 && b[0] == '0');
    ssize_t n = recv(fds[0], b, 100, MSG_WAITALL);
    CHECK(n == 100);
    for (int i = 0; i < 100; i++) CHECK(b[i] == '0' + i % 10);
    finish(t);
    CHECK(recv(fds[0], b, sizeof b, MSG_DONTWAIT) == -1 && errno == EWOULDBLOCK);
    // The stream's end also ends a WAITALL, with what came before it.
    t = start(pieces_then_close, (void*)(intptr_t)fds[1]);
    ssize_t rest = recv(fds[0], b, 100, MSG_WAITALL);
    CHECK(rest == 7 && memcmp(b, "0123456", 7) == 0);
    finish(t);
    CHECK(recv(fds[0], b, 100, 0) == 0);
    close(fds[0]);
    printf("%s: %zd and %zd bytes, then end\n", name, n, rest);
}

int main(void) {
    int fds[2];
    tcp_pair(fds);
    stream(fds, "tcp");
    unix_pair(fds);
    stream(fds, "unix");

    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    char b[8];
    CHECK(send(fds[1], "twelve bytes", 12, 0) == 12);
    CHECK(recv(fds[0], b, 4, MSG_PEEK | MSG_TRUNC) == 12 && memcmp(b, "twel", 4) == 0);
    CHECK(recv(fds[0], b, 4, 0) == 4);
    CHECK(recv(fds[0], b, 4, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    CHECK(send(fds[1], "", 0, 0) == 0);
    CHECK(recv(fds[0], b, 4, 0) == 0);
    // Filling the peer's queue: DONTWAIT says EAGAIN, it does not wait.
    int sent = 0;
    while (send(fds[1], b, 4, MSG_DONTWAIT) == 4) sent++;
    CHECK(errno == EAGAIN && sent > 0);
    while (sent && recv(fds[0], b, 4, MSG_DONTWAIT) == 4) sent--;
    CHECK(sent == 0);
    puts("datagrams counted");
    return 0;
}
