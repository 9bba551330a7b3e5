// How TCP connections end while threads wait on them: half-close in both directions, reset by
// SO_LINGER, reset by unread data, errors that are reported once and then become end of file, a
// peer process that is killed.
// expect: fibers>=5 native_fallbacks=0
#include "../../support/twin.h"

static int fds[2];
static sem_t ready;
static ssize_t result;
static int code;

static void* reader(void*) {
    char b[64];
    sem_post(&ready);
    result = recv(fds[0], b, sizeof b, 0);
    code = errno;
    return nullptr;
}
static void* poller(void*) {
    pollfd p = {fds[0], POLLIN | POLLRDHUP, 0};
    sem_post(&ready);
    CHECK(poll(&p, 1, -1) == 1);
    code = p.revents;
    return nullptr;
}
static pthread_t waiting(void* (*body)(void*)) {
    pthread_t t = start(body, nullptr);
    wait_sem(&ready);
    nap(15);
    return t;
}
static void reset(int fd) {
    linger l = {1, 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l) == 0);
    CHECK(close(fd) == 0);
}

int main() {
    CHECK(sem_init(&ready, 0, 0) == 0);
    char b[64];
    tcp_pair(fds);
    pthread_t t = waiting(reader);
    CHECK(shutdown(fds[1], SHUT_WR) == 0);
    finish(t);
    CHECK(result == 0);
    put(fds[0], "other way", 9);  // half-closed: this direction goes on
    CHECK(take(fds[1], b, 9) == 9);
    CHECK(shutdown(fds[0], SHUT_WR) == 0 && recv(fds[1], b, 1, 0) == 0);
    close(fds[0]);
    close(fds[1]);
    puts("half-close ok");

    tcp_pair(fds);
    t = waiting(reader);
    reset(fds[1]);
    finish(t);
    CHECK(result == -1 && code == ECONNRESET);
    CHECK(recv(fds[0], b, 1, 0) == 0);  // the error was told once
    CHECK(send(fds[0], b, 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    close(fds[0]);
    tcp_pair(fds);
    t = waiting(poller);
    reset(fds[1]);
    finish(t);
    CHECK((code & (POLLIN | POLLERR | POLLHUP)) == (POLLIN | POLLERR | POLLHUP));
    int error = 0;
    socklen_t size = sizeof error;
    CHECK(getsockopt(fds[0], SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == ECONNRESET);
    CHECK(getsockopt(fds[0], SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0);
    close(fds[0]);
    puts("reset ok");

    tcp_pair(fds);
    t = waiting(poller);
    shutdown(fds[1], SHUT_WR);
    finish(t);
    CHECK(code == (POLLIN | POLLRDHUP));
    put(fds[0], "never read", 10);
    close(fds[1]);  // unread data: a reset instead of an orderly end
    pollfd p = {fds[0], 0, 0};
    CHECK(poll(&p, 1, 5000) == 1 && (p.revents & POLLHUP));
    close(fds[0]);

    tcp_pair(fds);
    int go[2];
    CHECK(pipe(go) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        put(fds[1], "here", 4);
        put(go[1], "g", 1);
        while (true) pause();
    }
    close(fds[1]);
    CHECK(take(fds[0], b, 4) == 4 && take(go[0], b, 1) == 1);
    t = waiting(reader);
    CHECK(kill(pid, SIGKILL) == 0);
    int status = reap(pid);
    finish(t);
    CHECK(result == 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    puts("killed peer ok");
    return 0;
}
