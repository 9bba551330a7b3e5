// A number is closed, or replaced by dup2, while another thread is inside a call on it, for each
// kind of descriptor and call: what the call answers, before and after the other end moves.
// limit: 60
// expect: fibers>=20 native_fallbacks=0
#include "../../support/twin.h"
#include "../../support/cases.h"
#include <mqueue.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <termios.h>

static char buffer[16 << 20];
static int aside;  // the second descriptor of calls that have two

static char folder[] = "/tmp/pfiber-twin-XXXXXX";

static long do_read(int fd) { return read(fd, buffer, 256); }
static long do_read_some(int fd) { return read(fd, buffer, 256) > 0; }
static long do_readv(int fd) {
    struct iovec v[2] = {{buffer, 1}, {buffer + 1, 9}};
    return readv(fd, v, 2);
}
static long do_recvmsg(int fd) {
    struct iovec v = {buffer, 16};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    return recvmsg(fd, &m, 0);
}
static long do_recv_all(int fd) { return recv(fd, buffer, 4, MSG_WAITALL); }
static long do_accept(int fd) {
    int got = accept(fd, NULL, NULL);
    if (got < 0) return -1;
    close(got);
    return 1;
}
static long do_write(int fd) { return write(fd, buffer, sizeof buffer); }
static long do_send(int fd) { return send(fd, buffer, sizeof buffer, MSG_NOSIGNAL); }
static long do_poll(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    int n = poll(&p, 1, 400);
    return n * 1000 + p.revents;
}
static long do_poll_two(int fd) {
    struct pollfd p[2] = {{fd, POLLIN, 0}, {aside, POLLIN, 0}};
    int n = poll(p, 2, 400);
    return n * 1000000 + p[0].revents * 1000 + p[1].revents;
}
static long do_select(int fd) {
    fd_set r;
    FD_ZERO(&r);
    FD_SET(fd, &r);
    struct timeval t = {0, 400000};
    int n = select(fd + 1, &r, NULL, NULL, &t);
    return n < 0 ? n : n * 10 + (FD_ISSET(fd, &r) != 0);
}
static long do_epoll(int fd) {
    struct epoll_event e;
    return epoll_wait(fd, &e, 1, 400);
}
static long do_splice(int fd) { return splice(fd, NULL, aside, NULL, 16, 0); }
static long do_mq(int fd) { return mq_receive(fd, buffer, sizeof buffer, NULL); }

// fds[0] is waited on, moving fds[1] ends the wait.
static void make_tcp(int fds[2]) { tcp_pair(fds); }
static void make_unix(int fds[2]) { unix_pair(fds); }
static void make_pipe(int fds[2]) { CHECK(pipe(fds) == 0); }
static void make_out(int fds[2]) {
    int p[2];
    CHECK(pipe(p) == 0);
    fds[0] = p[1], fds[1] = p[0];
}
static void make_udp(int fds[2]) {
    struct sockaddr_in a = loopback(0);
    socklen_t size = sizeof a;
    fds[0] = socket(AF_INET, SOCK_DGRAM, 0), fds[1] = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(fds[0], (struct sockaddr*)&a, sizeof a) == 0);
    CHECK(getsockname(fds[0], (struct sockaddr*)&a, &size) == 0);
    CHECK(connect(fds[1], (struct sockaddr*)&a, sizeof a) == 0);
}
static void make_event(int fds[2]) {
    fds[0] = eventfd(0, 0);
    fds[1] = dup(fds[0]);
}
static void make_timer(int fds[2]) {
    fds[0] = timerfd_create(CLOCK_MONOTONIC, 0);
    fds[1] = dup(fds[0]);
}
static void make_inotify(int fds[2]) {
    fds[0] = inotify_init();
    CHECK(inotify_add_watch(fds[0], folder, IN_CREATE) >= 0);
    fds[1] = dup(fds[0]);
}
static void make_signals(int fds[2]) {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR2);
    fds[0] = signalfd(-1, &s, 0);
    fds[1] = dup(fds[0]);
}
static void make_terminal(int fds[2]) {
    fds[1] = posix_openpt(O_RDWR | O_NOCTTY);
    CHECK(grantpt(fds[1]) == 0 && unlockpt(fds[1]) == 0);
    char name[64];
    CHECK(ptsname_r(fds[1], name, sizeof name) == 0);
    fds[0] = open(name, O_RDWR | O_NOCTTY);
    struct termios m;
    CHECK(tcgetattr(fds[0], &m) == 0);
    cfmakeraw(&m);
    CHECK(tcsetattr(fds[0], TCSANOW, &m) == 0);
}
static void make_queue(int fds[2]) {
    struct mq_attr a = {.mq_maxmsg = 2, .mq_msgsize = 16};
    char name[64];
    snprintf(name, sizeof name, "/pfiber-twin-%d", getpid());
    fds[0] = mq_open(name, O_CREAT | O_RDWR, 0600, &a);
    CHECK(fds[0] >= 0);
    mq_unlink(name);
    fds[1] = dup(fds[0]);
}
static int listener_port;
static void make_listener(int fds[2]) {
    fds[0] = tcp_listen(5);
    listener_port = port_of(fds[0]);
    fds[1] = -1;
}
static void make_epoll(int fds[2]) {
    int p[2];
    CHECK(pipe(p) == 0);
    fds[0] = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN};
    CHECK(epoll_ctl(fds[0], EPOLL_CTL_ADD, p[0], &e) == 0);
    fds[1] = p[1];
}

static void move_write(int fd) {
    ssize_t n = write(fd, "0123456789", 10);
    if (n != 10) printf("  write: %zd %s\n", n, strerrorname_np(errno));
}
static void move_event(int fd) { CHECK(eventfd_write(fd, 1) == 0); }
static void move_timer(int fd) {
    struct itimerspec t = {.it_value = {0, 1000000}};
    CHECK(timerfd_settime(fd, 0, &t, NULL) == 0);
}
static void move_inotify(int fd) {
    (void)fd;
    char name[64];
    snprintf(name, sizeof name, "%s/made", folder);
    CHECK(mkdir(name, 0700) == 0 && rmdir(name) == 0);
}
static void move_signals(int fd) {
    (void)fd;
    CHECK(kill(getpid(), SIGUSR2) == 0);
}
static void move_drain(int fd) {
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    static char sink[1 << 16];
    for (int idle = 0; idle < 20;) {
        ssize_t n = read(fd, sink, sizeof sink);
        if (n == 0) break;
        if (n > 0) idle = 0;
        if (n < 0) idle++, nap(2);
    }
}
static void move_queue(int fd) { CHECK(mq_send(fd, "12345", 5, 0) == 0); }
static void move_connect(int fd) {
    (void)fd;
    struct sockaddr_in a = loopback(listener_port);
    int c = socket(AF_INET, SOCK_STREAM, 0);
    int rc = connect(c, (struct sockaddr*)&a, sizeof a);
    printf("  connect: %d %s\n", rc, rc != 0 ? strerrorname_np(errno) : "ok");
    close(c);
}

static const struct {
    const char* name;
    void (*make)(int fds[2]);
    long (*body)(int);
    void (*move)(int);
} table[] = {
    {"tcp read", make_tcp, do_read, move_write},
    {"tcp readv", make_tcp, do_readv, move_write},
    {"tcp recvmsg", make_tcp, do_recvmsg, move_write},
    {"tcp recv waitall", make_tcp, do_recv_all, move_write},
    {"tcp send", make_tcp, do_send, move_drain},
    {"tcp write", make_tcp, do_write, move_drain},
    {"tcp poll", make_tcp, do_poll, move_write},
    {"tcp select", make_tcp, do_select, move_write},
    {"tcp splice", make_tcp, do_splice, move_write},
    {"unix read", make_unix, do_read, move_write},
    {"unix write", make_unix, do_write, move_drain},
    {"unix poll", make_unix, do_poll, move_write},
    {"udp recv", make_udp, do_recvmsg, move_write},
    {"udp poll", make_udp, do_poll, move_write},
    {"pipe read", make_pipe, do_read, move_write},
    {"pipe readv", make_pipe, do_readv, move_write},
    {"pipe write", make_out, do_write, move_drain},
    {"pipe poll", make_pipe, do_poll, move_write},
    {"pipe poll two", make_pipe, do_poll_two, move_write},
    {"pipe select", make_pipe, do_select, move_write},
    {"pipe splice", make_pipe, do_splice, move_write},
    {"eventfd read", make_event, do_read, move_event},
    {"eventfd poll", make_event, do_poll, move_event},
    {"timerfd read", make_timer, do_read, move_timer},
    {"signalfd read", make_signals, do_read, move_signals},
    {"signalfd poll", make_signals, do_poll, move_signals},
    {"inotify read", make_inotify, do_read_some, move_inotify},
    {"inotify poll", make_inotify, do_poll, move_inotify},
    {"terminal read", make_terminal, do_read, move_write},
    {"terminal poll", make_terminal, do_poll, move_write},
    {"queue receive", make_queue, do_mq, move_queue},
    {"queue poll", make_queue, do_poll, move_queue},
    {"listener accept", make_listener, do_accept, move_connect},
    {"listener poll", make_listener, do_poll, move_connect},
    {"epoll wait", make_epoll, do_epoll, move_write},
    {"epoll poll", make_epoll, do_poll, move_write},
};

static void one(int i, int replaces) {
    int fds[2], other[2], beside[2];
    CHECK(pipe(beside) == 0);
    aside = table[i].body == do_splice ? beside[1] : beside[0];
    table[i].make(fds);
    CHECK(fds[0] >= 0);
    unix_pair(other);
    char name[64];
    snprintf(name, sizeof name, "%s, %s", table[i].name, replaces ? "replaced" : "closed");
    struct call c;
    begin_call(&c, table[i].body, fds[0]);
    CHECK(!has_ended(&c));
    if (replaces)
        CHECK(dup2(other[0], fds[0]) == fds[0]);
    else
        CHECK(close(fds[0]) == 0);
    nap(20);
    printf("%s: %s\n", name, has_ended(&c) ? "ended" : "goes on");
    table[i].move(fds[1]);
    end_call(&c, name);
    sigset_t left;
    sigemptyset(&left);
    sigaddset(&left, SIGUSR2);
    sigtimedwait(&left, NULL, &(struct timespec){0, 0});
    if (replaces) CHECK(close(fds[0]) == 0);
    if (fds[1] >= 0) close(fds[1]);
    for (int k = 0; k < 2; k++) close(other[k]), close(beside[k]);
}

int main(int argc, char** argv) {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR2);
    CHECK(sigprocmask(SIG_BLOCK, &s, NULL) == 0);
    signal(SIGPIPE, SIG_IGN);
    CHECK(mkdtemp(folder) != NULL);
    for (int i = 0; i < COUNT(table); i++) {
        if (argc > 1 && strstr(table[i].name, argv[1]) == NULL) continue;
        one(i, 0);
        one(i, 1);
        fflush(stdout);
    }
    CHECK(rmdir(folder) == 0);
    // Nothing is left open.
    int lowest = open("/dev/null", O_RDONLY);
    printf("lowest free number %d\n", lowest);
    return 0;
}
