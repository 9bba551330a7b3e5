// daemon(), double fork with setsid, and inherited standard descriptors: the daemon's side has a
// new process with the parent's descriptors, closes the rest and goes on to create threads and
// serve connections.
// limit: 20
#include "../../support/twin.h"

static int served(int listener) {
    pthread_t t[4];
    for (auto& one : t) {
        int c = accept(listener, nullptr, nullptr);
        CHECK(c >= 0);
        one = start(twin_ponger, (void*)(intptr_t)c);
    }
    for (auto& one : t) finish(one);
    return 0;
}
static int ask(int port) {
    int fds[4], good = 0;
    for (int& fd : fds) fd = tcp_connect(port);
    for (int round = 0; round < 10; round++) {
        for (int fd : fds) {
            unsigned char c = (unsigned char)round;
            put(fd, &c, 1);
            good += take(fd, &c, 1) == 1 && c == round + 1;
        }
    }
    for (int fd : fds) close(fd);
    return good;
}

int main() {
    // One thread ran before, as in servers that start one early.
    CHECK(pingpong(2, 2) == 4);
    int good = 0;
    for (int kind = 0; kind < 3; kind++) {
        int listener = tcp_listen(8), report[2];
        CHECK(pipe(report) == 0);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            if (kind == 1) CHECK(pingpong(2, 2) == 4);  // threads on this side of the fork too
            if (kind < 2) {
                CHECK(daemon(0, 0) == 0);
                char cwd[8];
                CHECK(getcwd(cwd, sizeof cwd) && strcmp(cwd, "/") == 0);
            } else {
                CHECK(setsid() == getpid());
                pid_t second = fork();
                CHECK(second >= 0);
                if (second) _exit(0);
                // Closes what it was not told about, the way old daemons do.
                for (int fd = getdtablesize() > 4096 ? 4096 : getdtablesize(); fd-- > 3;)
                    if (fd != listener && fd != report[1]) close(fd);
            }
            CHECK(getppid() != 0 && served(listener) == 0);
            pid_t self = getpid();
            put(report[1], &self, sizeof self);
            _exit(0);
        }
        CHECK(exited_with(reap(pid), 0));
        good += ask(port_of(listener));
        pid_t server = 0;
        CHECK(take(report[0], &server, sizeof server) == sizeof server);
        CHECK(server != pid && server != getpid());
        close(report[0]);
        close(report[1]);
        close(listener);
    }
    printf("%d replies from daemons\n", good);
    return good != 120;
}
