// UDP and AF_UNIX datagrams: addresses, lengths, truncation, several in one call, a send that
// blocks because the peer's queue is full and goes on when it is drained, refused ones.
// expect: fibers>=4 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static int receiver_fd;
static std::atomic<int> sent;
static const int many = 2000;

static void* fill(void* arg) {
    int fd = (int)(intptr_t)arg;
    for (int i = 0; i < many; i++) {
        CHECK(send(fd, &i, sizeof i, 0) == sizeof i);
        sent++;
    }
    return nullptr;
}

static void* udp_server(void*) {
    char b[64];
    for (int i = 0; i < 100; i++) {
        sockaddr_in from;
        socklen_t size = sizeof from;
        ssize_t n = recvfrom(receiver_fd, b, sizeof b, 0, (sockaddr*)&from, &size);
        CHECK(n == i % 50 && size == sizeof from);
        CHECK(sendto(receiver_fd, b, (size_t)n, 0, (sockaddr*)&from, size) == n);
    }
    return nullptr;
}

static void* multi(void*) {
    mmsghdr m[8] = {};
    iovec v[8];
    char b[8][16];
    sockaddr_in from[8];
    for (int i = 0; i < 8; i++) {
        v[i] = {b[i], 16};
        m[i].msg_hdr.msg_iov = &v[i];
        m[i].msg_hdr.msg_iovlen = 1;
        m[i].msg_hdr.msg_name = &from[i];
        m[i].msg_hdr.msg_namelen = sizeof from[i];
    }
    int n = recvmmsg(receiver_fd, m, 8, 0, nullptr);  // waits for all eight
    CHECK(n == 8);
    for (int i = 0; i < 8; i++) CHECK(m[i].msg_len == 4u && memcmp(b[i], "abcd", 4) == 0);
    return nullptr;
}

int main() {
    receiver_fd = socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in a = loopback(0);
    CHECK(bind(receiver_fd, (sockaddr*)&a, sizeof a) == 0);
    a = loopback(port_of(receiver_fd));
    int client = socket(AF_INET, SOCK_DGRAM, 0);
    pthread_t t = start(udp_server, nullptr);
    char b[64] = "0123456789", back[64];
    int replies = 0;
    for (int i = 0; i < 100; i++) {
        CHECK(sendto(client, b, i % 50, 0, (sockaddr*)&a, sizeof a) == i % 50);
        replies += recv(client, back, sizeof back, 0) == i % 50 && memcmp(b, back, i % 50) == 0;
    }
    finish(t);
    t = start(multi, nullptr);
    for (int i = 0; i < 8; i++) {
        nap(2);
        CHECK(sendto(client, "abcd", 4, 0, (sockaddr*)&a, sizeof a) == 4);
    }
    finish(t);
    timespec limit = {0, 50000000};
    mmsghdr one = {};
    iovec v = {back, sizeof back};
    one.msg_hdr.msg_iov = &v;
    one.msg_hdr.msg_iovlen = 1;
    CHECK(recvmmsg(receiver_fd, &one, 1, MSG_DONTWAIT, &limit) == -1 && errno == EAGAIN);
    printf("%d udp replies\n", replies);
    // Nobody at the other end: the error comes with the next call on a connected socket.
    CHECK(close(receiver_fd) == 0);
    CHECK(connect(client, (sockaddr*)&a, sizeof a) == 0);
    CHECK(send(client, "x", 1, 0) == 1);
    CHECK(recv(client, back, 1, 0) == -1 && errno == ECONNREFUSED);

    // Connected pair and unconnected, named sockets: both block when the queue is full.
    for (int named = 0; named < 2; named++) {
        int fds[2];
        if (named) {
            sockaddr_un u;
            socklen_t size = unix_name(&u, "datagrams");
            for (int& fd : fds) CHECK((fd = socket(AF_UNIX, SOCK_DGRAM, 0)) >= 0);
            CHECK(bind(fds[1], (sockaddr*)&u, size) == 0);
            CHECK(connect(fds[0], (sockaddr*)&u, size) == 0);
        } else {
            CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
        }
        sent = 0;
        t = start(fill, (void*)(intptr_t)fds[0]);
        nap(50);
        int before = sent, right = 0;
        CHECK(before < many);  // the queue is shorter than that
        for (int i = 0; i < many; i++) {
            int value = -1;
            CHECK(recv(fds[1], &value, sizeof value, 0) == sizeof value);
            right += value == i;
        }
        finish(t);
        printf("unix datagrams %s: %d in order\n", named ? "by name" : "in a pair", right);
        close(fds[0]);
        close(fds[1]);
    }
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    close(fds[1]);
    CHECK(send(fds[0], "x", 1, MSG_NOSIGNAL) == -1 && (errno == ECONNREFUSED || errno == EPIPE));
    return 0;
}
