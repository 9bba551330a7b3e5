// What sockets answer in the states between: connecting twice, refused, dissolved by AF_UNSPEC,
// shut down by another thread, errors that wait for getsockopt, lingering, low-water marks,
// timeouts.
// limit: 60
// expect: fibers>=10 native_fallbacks=0
#include "../../support/twin.h"
#include "../../support/cases.h"
#include <sys/ioctl.h>

static char buffer[16 << 20];

static void say(const char* name, long answer) {
    printf("%s: %ld %s\n", name, answer, answer < 0 ? strerrorname_np(errno) : "ok");
}
static int closed_port(void) {
    int fd = tcp_listen(1), port = port_of(fd);
    close(fd);
    return port;
}
static long connect_to(int fd, int port) {
    struct sockaddr_in a = loopback(port);
    return connect(fd, (struct sockaddr*)&a, sizeof a);
}
static int error_of(int fd) {
    int error = -1;
    socklen_t size = sizeof error;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    return error;
}
static void say_error(const char* name, int fd) {
    int error = error_of(fd);
    printf("%s: SO_ERROR %s\n", name, error ? strerrorname_np(error) : "none");
}
static int set_ms(int fd, int option, int ms) {
    struct timeval t = {ms / 1000, ms % 1000 * 1000};
    return setsockopt(fd, SOL_SOCKET, option, &t, sizeof t);
}
static void dissolve(const char* name, int fd) {
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    say(name, connect(fd, &none, sizeof none));
}

static void connecting(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    say("refused", connect_to(fd, closed_port()));
    say_error("after refused", fd);
    int listener = tcp_listen(3);
    say("same socket again", connect_to(fd, port_of(listener)));
    say("twice", connect_to(fd, port_of(listener)));
    dissolve("dissolve", fd);
    say("write after", write(fd, "x", 1));
    say("reuse", connect_to(fd, port_of(listener)));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    long n = connect_to(fd, port_of(listener));
    printf("nonblocking: %s\n", n == 0 || errno == EINPROGRESS ? "begun" : "failed");
    struct pollfd p = {fd, POLLOUT, 0};
    CHECK(poll(&p, 1, 5000) == 1);
    printf("events %x\n", p.revents);
    say_error("nonblocking", fd);
    say("settled", connect_to(fd, port_of(listener)));
    say("third", connect_to(fd, port_of(listener)));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    n = connect_to(fd, closed_port());
    if (n == -1 && errno == EINPROGRESS) {
        CHECK(poll(&p, 0, 0) == 0);
        p.fd = fd;
        CHECK(poll(&p, 1, 5000) == 1);
        n = error_of(fd) == ECONNREFUSED ? (errno = ECONNREFUSED, -1) : 0;
    }
    say("nonblocking refused", n);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    say("listening connects", (listen(fd, 1), connect_to(fd, port_of(listener))));
    say("accept on connected", (close(fd), fd = tcp_connect(port_of(listener)), accept(fd, 0, 0)));
    close(fd);
    close(listener);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    say("accept on fresh", accept(fd, NULL, NULL));
    say("recv on fresh", recv(fd, buffer, 1, 0));
    say("send on fresh", send(fd, buffer, 1, MSG_NOSIGNAL));
    say("shutdown on fresh", shutdown(fd, SHUT_RDWR));
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    say("wrong family", connect(fd, (struct sockaddr*)&six, sizeof six));
    say("short address", connect(fd, (struct sockaddr*)&six, 3));
    say("bad address", connect(fd, (struct sockaddr*)8, sizeof six));
    close(fd);
    say("closed number", connect_to(fd, 1));
    say("not a socket", connect_to(0, 1));
    // A full UNIX backlog.
    struct sockaddr_un u;
    socklen_t length = unix_name(&u, "backlog");
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c[8];
    CHECK(bind(l, (struct sockaddr*)&u, length) == 0 && listen(l, 1) == 0);
    int full = 0;
    for (int i = 0; i < 8; i++) {
        c[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        full += connect(c[i], (struct sockaddr*)&u, length) == -1 && errno == EAGAIN;
    }
    printf("%d found the backlog full\n", full);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(set_ms(fd, SO_SNDTIMEO, 60) == 0);
    say("full with a timeout", connect(fd, (struct sockaddr*)&u, length));
    for (int i = 0; i < 8; i++) close(c[i]);
    close(fd);
    close(l);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    say("nobody listens", connect(fd, (struct sockaddr*)&u, length));
    close(fd);
}

static long do_recv(int fd) { return recv(fd, buffer, 64, 0); }
static long do_send(int fd) { return send(fd, buffer, sizeof buffer, MSG_NOSIGNAL); }
static long do_accept(int fd) { return accept(fd, NULL, NULL); }
static long do_poll_all(int fd) {
    struct pollfd p = {fd, POLLIN | POLLRDHUP, 0};
    return poll(&p, 1, 3000) * 100000 + p.revents;
}
static long do_datagram(int fd) { return recv(fd, buffer, 64, 0); }

static void shutdowns(void) {
    struct call c;
    int fds[2];
    static const struct {
        const char* name;
        long (*body)(int);
        int side, how;
    } table[] = {
        {"recv, own SHUT_RD", do_recv, 0, SHUT_RD},
        {"recv, peer's SHUT_WR", do_recv, 1, SHUT_WR},
        {"recv, own SHUT_RDWR", do_recv, 0, SHUT_RDWR},
        {"send, own SHUT_WR", do_send, 0, SHUT_WR},
        {"send, own SHUT_RDWR", do_send, 0, SHUT_RDWR},
        {"poll, own SHUT_RD", do_poll_all, 0, SHUT_RD},
        {"poll, peer's SHUT_WR", do_poll_all, 1, SHUT_WR},
        {"poll, peer's SHUT_RDWR", do_poll_all, 1, SHUT_RDWR},
    };
    for (int unix_too = 0; unix_too < 2; unix_too++)
        for (int i = 0; i < COUNT(table); i++) {
            char name[64];
            snprintf(name, sizeof name, "%s: %s", unix_too ? "unix" : "tcp", table[i].name);
            if (unix_too)
                unix_pair(fds);
            else
                tcp_pair(fds);
            begin_call(&c, table[i].body, fds[0]);
            CHECK(shutdown(fds[table[i].side], table[i].how) == 0);
            finish(c.thread);
            // How much a send had moved before is not the same twice.
            if (table[i].body == do_send && c.answer > 0) c.answer = 1;
            printf("%s: %ld %s\n", name, c.answer, c.error ? strerrorname_np(c.error) : "ok");
            close(fds[0]);
            close(fds[1]);
        }
    int l = tcp_listen(2);
    begin_call(&c, do_accept, l);
    CHECK(shutdown(l, SHUT_RDWR) == 0);
    end_call(&c, "accept, listener shut down");
    say("accept later", accept(l, NULL, NULL));
    close(l);
    int u = socket(AF_INET, SOCK_DGRAM, 0);
    begin_call(&c, do_datagram, u);
    shutdown(u, SHUT_RDWR);
    end_call(&c, "unconnected datagrams, shut down");
    close(u);
}

static void errors(void) {
    int fds[2];
    struct call c;
    struct linger now = {1, 0};
    tcp_pair(fds);
    begin_call(&c, do_recv, fds[0]);
    CHECK(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    close(fds[1]);
    end_call(&c, "recv, reset");
    say("recv again", recv(fds[0], buffer, 1, 0));
    say("send again", send(fds[0], buffer, 1, MSG_NOSIGNAL));
    say_error("after", fds[0]);
    close(fds[0]);
    tcp_pair(fds);
    CHECK(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    close(fds[1]);
    struct pollfd p = {fds[0], POLLIN | POLLOUT | POLLRDHUP, 0};
    CHECK(poll(&p, 1, 3000) == 1);
    printf("reset events %x\n", p.revents);
    say_error("reset", fds[0]);
    say("recv after getsockopt", recv(fds[0], buffer, 1, 0));
    close(fds[0]);
    tcp_pair(fds);
    begin_call(&c, do_send, fds[0]);
    CHECK(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    close(fds[1]);
    finish(c.thread);
    printf("send, reset: %s\n", c.answer > 0 ? "some" : strerrorname_np(c.error));
    if (c.answer > 0) say("send, reset, next", send(fds[0], buffer, 1, MSG_NOSIGNAL));
    say("send, reset, third", send(fds[0], buffer, 1, MSG_NOSIGNAL));
    close(fds[0]);
    // Refusal of a datagram comes with the next call.
    int u = socket(AF_INET, SOCK_DGRAM, 0), port;
    struct sockaddr_in a = loopback(0);
    CHECK(bind(u, (struct sockaddr*)&a, sizeof a) == 0);
    port = port_of(u);
    close(u);
    u = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(connect_to(u, port) == 0);
    begin_call(&c, do_datagram, u);
    CHECK(send(u, "x", 1, 0) == 1);
    end_call(&c, "datagram refused");
    CHECK(send(u, "x", 1, 0) == 1);
    nap(20);
    say("send after refusal", send(u, "x", 1, 0));
    dissolve("dissolve datagrams", u);
    say("send to nobody", send(u, "x", 1, 0));
    close(u);
}

static void options(void) {
    int fds[2];
    struct call c;
    tcp_pair(fds);
    int low = 8;
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low) == 0);
    begin_call(&c, do_recv, fds[0]);
    put(fds[1], "123", 3);
    nap(30);
    printf("low-water mark: %s\n", state_of(&c));
    put(fds[1], "45678", 5);
    end_call(&c, "low-water mark");
    begin_call(&c, do_poll_all, fds[0]);
    put(fds[1], "123", 3);
    nap(30);
    printf("poll: %s\n", state_of(&c));
    put(fds[1], "45678", 5);
    end_call(&c, "poll at the mark");
    low = 1;
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low) == 0);
    say("rest", recv(fds[0], buffer, 64, 0));
    CHECK(set_ms(fds[0], SO_RCVTIMEO, 50) == 0);
    int64_t before = now_ms();
    say("timeout", recv(fds[0], buffer, 64, 0));
    say("timeout waitall", (put(fds[1], "ab", 2), recv(fds[0], buffer, 64, MSG_WAITALL)));
    CHECK(now_ms() - before >= 100);
    struct timeval t = {0, 1000000};
    say("bad timeout", setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    begin_call(&c, do_recv, fds[0]);
    CHECK(set_ms(fds[0], SO_RCVTIMEO, 0) == 0);
    end_call(&c, "timeout of a call that had begun");
    begin_call(&c, do_recv, fds[0]);
    CHECK(set_ms(fds[0], SO_RCVTIMEO, 10) == 0);
    nap(60);
    printf("a timeout set later: %s\n", state_of(&c));
    put(fds[1], "ab", 2);
    end_call(&c, "timeout set later");
    CHECK(set_ms(fds[0], SO_SNDTIMEO, 60) == 0);
    long n = send(fds[0], buffer, sizeof buffer, 0);
    printf("send with a timeout: %s\n", n > 0 ? "some" : strerrorname_np(errno));
    close(fds[0]);
    close(fds[1]);
    // Lingering: close waits until the peer took the rest, or for the time.
    tcp_pair(fds);
    struct linger one = {1, 1};
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &one, sizeof one) == 0);
    int nonblock = 1;
    CHECK(ioctl(fds[0], FIONBIO, &nonblock) == 0);
    while (send(fds[0], buffer, 1 << 20, 0) > 0) {
    }
    CHECK(errno == EAGAIN);
    printf("O_NONBLOCK %d\n", (fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0);
    nonblock = 0;
    CHECK(ioctl(fds[0], FIONBIO, &nonblock) == 0);
    before = now_ms();
    say("lingering close", close(fds[0]));
    printf("lingered: %d\n", now_ms() - before >= 900);
    close(fds[1]);
    int l = tcp_listen(2), seconds = 1;
    CHECK(setsockopt(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds) == 0);
    begin_call(&c, do_accept, l);
    int client = tcp_connect(port_of(l));
    nap(30);
    printf("deferred accept: %s\n", state_of(&c));
    put(client, "x", 1);
    finish(c.thread);
    CHECK(c.answer >= 0);
    int accepted = (int)c.answer;
    say("deferred data", recv(accepted, buffer, 4, 0));
    close(accepted);
    close(client);
    client = tcp_connect(port_of(l));
    put(client, "x", 1);
    accepted = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(accepted >= 0);
    printf("accept4: %d %d\n", (fcntl(accepted, F_GETFL) & O_NONBLOCK) != 0,
           fcntl(accepted, F_GETFD));
    say("accept4 bad flags", accept4(l, NULL, NULL, 0x7));
    close(accepted);
    close(client);
    client = tcp_connect(port_of(l));
    put(client, "x", 1);
    accepted = accept(l, NULL, NULL);
    printf("accept: %d %d\n", (fcntl(accepted, F_GETFL) & O_NONBLOCK) != 0,
           fcntl(accepted, F_GETFD));
    close(accepted);
    close(client);
    CHECK(set_ms(l, SO_RCVTIMEO, 40) == 0);
    say("accept with a timeout", accept(l, NULL, NULL));
    close(l);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    finish(start((void* (*)(void*))(uintptr_t)nap, (void*)1));
    connecting();
    shutdowns();
    errors();
    options();
    return 0;
}
