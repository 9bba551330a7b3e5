// O_NONBLOCK belongs to the description that other processes share: while threads here wait in
// blocking calls, a forked child that shares the descriptors never sees it set, and calls on them
// in the child still block.
#include "../../support/twin.h"

static int tcp[2], un[2], pipes[2], full[2], listener;
static int event_fds[2];

static void* receive(void* fd) {
    char c;
    CHECK(recv((int)(intptr_t)fd, &c, 1, 0) == 1);
    return nullptr;
}
static void* read_one(void* fd) {
    char c;
    CHECK(read((int)(intptr_t)fd, &c, 1) == 1);
    return nullptr;
}
static void* accept_one(void* fd) {
    int c = accept((int)(intptr_t)fd, nullptr, nullptr);
    CHECK(c >= 0);
    CHECK((fcntl(c, F_GETFL) & O_NONBLOCK) == 0);
    close(c);
    return nullptr;
}
static void* write_much(void* fd) {
    static char data[1 << 20];
    CHECK(write((int)(intptr_t)fd, data, sizeof data) == (ssize_t)sizeof data);
    return nullptr;
}
static void* poll_one(void* fd) {
    pollfd p = {(int)(intptr_t)fd, POLLIN, 0};
    CHECK(poll(&p, 1, 20000) == 1);
    return nullptr;
}

int main() {
    tcp_pair(tcp);
    unix_pair(un);
    CHECK(pipe(pipes) == 0 && pipe(full) == 0);
    CHECK(pipe(event_fds) == 0);
    listener = tcp_listen(4);
    int watched[] = {tcp[0], tcp[1], un[0], un[1], pipes[0], pipes[1], full[0], full[1], listener};
    int go[2], report[2];
    CHECK(pipe(go) == 0 && pipe(report) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char c;
        take(go[0], &c, 1);
        int bad = 0;
        for (int i = 0; i < 150; i++) {
            for (int fd : watched) bad += (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
            usleep(1000);
        }
        put(report[1], &bad, sizeof bad);
        _exit(0);
    }
    pthread_t t[7] = {
        start(receive, (void*)(intptr_t)tcp[0]),        start(receive, (void*)(intptr_t)un[0]),
        start(read_one, (void*)(intptr_t)pipes[0]),     start(write_much, (void*)(intptr_t)full[1]),
        start(accept_one, (void*)(intptr_t)listener),   start(poll_one, (void*)(intptr_t)pipes[0]),
        start(read_one, (void*)(intptr_t)event_fds[0]),
    };
    nap(30);
    put(go[1], "g", 1);
    int bad = -1;
    CHECK(take(report[0], &bad, sizeof bad) == sizeof bad);
    CHECK(exited_with(reap(child), 0));
    for (int fd : watched) CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
    put(tcp[1], "x", 1);
    put(un[1], "x", 1);
    put(pipes[1], "xx", 2);
    put(event_fds[1], "x", 1);
    static char sink[1 << 20];
    CHECK(take(full[0], sink, sizeof sink) == sizeof sink);
    int c = tcp_connect(port_of(listener));
    for (pthread_t one : t) finish(one);
    close(c);
    printf("O_NONBLOCK seen %d times\n", bad);
    return bad != 0;
}
