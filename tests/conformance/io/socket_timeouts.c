// SO_RCVTIMEO and SO_SNDTIMEO: recv, read, recvmsg, accept and send give EAGAIN after the time,
// connect EINPROGRESS or EAGAIN; data within the time is delivered; a partial send reports what
// went out.
// expect: fibers>=2 native_fallbacks=0
#include "../../support/twin.h"

static void set(int fd, int option, int ms) {
    struct timeval t = {ms / 1000, ms % 1000 * 1000};
    CHECK(setsockopt(fd, SOL_SOCKET, option, &t, sizeof t) == 0);
}

static int64_t began;
static int timeouts;
// 120 ms asked; the kernel rounds to ticks, so a few less may be seen.
static void expired(const char* name, long result, int code) {
    CHECK(result == -1 && errno == code);
    CHECK(now_ms() - began >= 110);
    printf("%s: %s\n", name, strerror(code));
    timeouts++;
    began = now_ms();
}

static void* late(void* arg) {
    nap(30);
    put((int)(intptr_t)arg, "in time", 7);
    return NULL;
}

static void* main_thread(void* arg) {
    (void)arg;
    int fds[2];
    char b[64];
    tcp_pair(fds);
    set(fds[0], SO_RCVTIMEO, 120);
    began = now_ms();
    expired("recv", recv(fds[0], b, 1, 0), EAGAIN);
    expired("read", read(fds[0], b, 1), EAGAIN);
    struct iovec v = {b, sizeof b};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    expired("recvmsg", recvmsg(fds[0], &m, 0), EAGAIN);
    expired("readv", readv(fds[0], &v, 1), EAGAIN);
    put(fds[1], "part", 4);
    // What came before the time counts: WAITALL returns it instead of an error.
    began = now_ms();
    CHECK(recv(fds[0], b, 10, MSG_WAITALL) == 4 && now_ms() - began >= 110);
    set(fds[0], SO_RCVTIMEO, 5000);
    pthread_t t = start(late, (void*)(intptr_t)fds[1]);
    CHECK(recv(fds[0], b, 7, 0) == 7 && memcmp(b, "in time", 7) == 0);
    finish(t);

    int listener = tcp_listen(4);
    set(listener, SO_RCVTIMEO, 120);
    began = now_ms();
    expired("accept", accept(listener, NULL, NULL), EAGAIN);
    expired("accept4", accept4(listener, NULL, NULL, SOCK_CLOEXEC), EAGAIN);

    static char big[8 << 20];
    int un[2];
    unix_pair(un);
    set(un[1], SO_SNDTIMEO, 120);
    ssize_t sent = send(un[1], big, sizeof big, 0);
    CHECK(sent > 0 && sent < (ssize_t)sizeof big);
    began = now_ms();
    expired("send", send(un[1], big, sizeof big, 0), EAGAIN);
    expired("write", write(un[1], big, sizeof big), EAGAIN);

    // A full TCP backlog drops the SYN, a full AF_UNIX backlog makes the caller wait.
    int narrow = tcp_listen(0), c1 = tcp_connect(port_of(narrow));
    int c2 = socket(AF_INET, SOCK_STREAM, 0);
    set(c2, SO_SNDTIMEO, 120);
    struct sockaddr_in a = loopback(port_of(narrow));
    began = now_ms();
    expired("connect tcp", connect(c2, (struct sockaddr*)&a, sizeof a), EINPROGRESS);
    CHECK((fcntl(c2, F_GETFL) & O_NONBLOCK) == 0);
    close(c1);

    struct sockaddr_un name;
    socklen_t size = unix_name(&name, "narrow");
    int ul = socket(AF_UNIX, SOCK_STREAM, 0), u[2];
    CHECK(bind(ul, (struct sockaddr*)&name, size) == 0 && listen(ul, 0) == 0);
    for (int i = 0; i < 2; i++) {
        u[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        set(u[i], SO_SNDTIMEO, 120);
    }
    CHECK(connect(u[0], (struct sockaddr*)&name, size) == 0);
    began = now_ms();
    expired("connect unix", connect(u[1], (struct sockaddr*)&name, size), EAGAIN);
    printf("%d timeouts\n", timeouts);
    return NULL;
}

int main(void) {
    finish(start(main_thread, NULL));
    return 0;
}
