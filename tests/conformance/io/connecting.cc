// connect: refused, blocked by a full AF_UNIX or TCP backlog until somebody accepts, non-blocking
// with poll for writability and SO_ERROR, a second connect (EISCONN, EALREADY), many at once.
// limit: 20
// expect: fibers>=11 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static sockaddr_un name;
static socklen_t name_size;
static std::atomic<int> connected;

static void* connect_unix(void*) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(fd, (sockaddr*)&name, name_size) == 0);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
    connected++;
    char c;
    CHECK(read(fd, &c, 1) == 1);
    close(fd);
    return nullptr;
}
static void* connect_tcp(void* arg) {
    int fd = tcp_connect((int)(intptr_t)arg);
    connected++;
    char c;
    CHECK(read(fd, &c, 1) == 1);
    close(fd);
    return nullptr;
}
static int serve(int listener, int n) {
    for (int i = 0; i < n; i++) {
        int c = accept(listener, nullptr, nullptr);
        CHECK(c >= 0);
        put(c, "w", 1);
        close(c);
    }
    return n;
}

int main() {
    // Refused: a port that was just given back.
    int l = tcp_listen(1), free_port = port_of(l);
    close(l);
    sockaddr_in a = loopback(free_port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (sockaddr*)&a, sizeof a) == -1 && errno == ECONNREFUSED);
    close(fd);
    name_size = unix_name(&name, "connecting");
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(fd, (sockaddr*)&name, name_size) == -1 && errno == ECONNREFUSED);
    close(fd);

    int ul = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(ul, (sockaddr*)&name, name_size) == 0 && listen(ul, 2) == 0);
    pthread_t t[10];
    for (pthread_t& one : t) one = start(connect_unix, nullptr);
    nap(60);
    int early = connected;
    CHECK(early <= 3);  // backlog + 1
    int served = serve(ul, 10);
    for (pthread_t one : t) finish(one);
    CHECK(connected == 10);
    printf("unix: %d connected through a backlog of 2, %d served\n", (int)connected, served);

    // The second SYN finds the queue full, is dropped and sent again after a second.
    l = tcp_listen(0);
    int first = tcp_connect(port_of(l));
    connected = 0;
    t[0] = start(connect_tcp, (void*)(intptr_t)port_of(l));
    nap(60);
    CHECK(connected == 0);
    served = serve(l, 2);
    finish(t[0]);
    close(first);
    printf("tcp: %d connected through a full backlog, %d served\n", (int)connected, served);
    close(l);

    l = tcp_listen(8);
    a = loopback(port_of(l));
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int n = connect(fd, (sockaddr*)&a, sizeof a);
    CHECK(n == 0 || errno == EINPROGRESS);
    pollfd p = {fd, POLLOUT, 0};
    CHECK(poll(&p, 1, 5000) == 1 && p.revents == POLLOUT);
    int error = -1;
    socklen_t size = sizeof error;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0);
    CHECK(connect(fd, (sockaddr*)&a, sizeof a) == 0 || errno == EISCONN);
    CHECK(connect(fd, (sockaddr*)&a, sizeof a) == -1 && errno == EISCONN);
    int s = accept(l, nullptr, nullptr);
    CHECK(s >= 0);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK));
    close(fd);
    close(s);
    close(l);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    n = connect(fd, (sockaddr*)&a, sizeof a);
    CHECK(n == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED));
    if (errno == EINPROGRESS) {
        p = {fd, POLLOUT, 0};
        CHECK(poll(&p, 1, 5000) == 1 && (p.revents & POLLERR));
        CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == ECONNREFUSED);
    }
    puts("non-blocking connects ok");
    return 0;
}
