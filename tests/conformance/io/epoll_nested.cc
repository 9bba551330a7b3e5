// epoll in epoll, epoll in poll and select, edge-triggered inner events, data that was there
// before the add, closing a watched descriptor, and the documented errors.
// expect: fibers>=1 native_fallbacks=0
#include "../../support/twin.h"
#include <sys/epoll.h>
#include <sys/select.h>

static int fds[2];
static sem_t go;
static void* writer(void*) {
    for (int i = 0; i < 30; i++) {
        wait_sem(&go);
        if (i % 3 == 0) nap(3);
        put(fds[1], "x", 1);
    }
    return nullptr;
}
static void add(int ep, int fd, unsigned events, int tag) {
    epoll_event e = {};
    e.events = events;
    e.data.u32 = (unsigned)tag;
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0);
}

int main() {
    CHECK(sem_init(&go, 0, 0) == 0);
    unix_pair(fds);
    int inner = epoll_create1(0), middle = epoll_create1(0), outer = epoll_create(1);
    add(inner, fds[0], EPOLLIN | EPOLLET, 1);
    add(middle, inner, EPOLLIN, 2);
    add(outer, middle, EPOLLIN, 3);
    pthread_t t = start(writer, nullptr);
    int seen = 0;
    for (int i = 0; i < 30; i++) {
        sem_post(&go);
        epoll_event e;
        if (i % 3 == 0) {
            CHECK(epoll_wait(outer, &e, 1, -1) == 1 && e.data.u32 == 3);
        } else if (i % 3 == 1) {
            pollfd p = {outer, POLLIN, 0};
            CHECK(poll(&p, 1, 10000) == 1 && p.revents == POLLIN);
        } else {
            fd_set r;
            FD_ZERO(&r);
            FD_SET(outer, &r);
            CHECK(select(outer + 1, &r, nullptr, nullptr, nullptr) == 1);
        }
        CHECK(epoll_wait(middle, &e, 1, 0) == 1 && e.data.u32 == 2);
        CHECK(epoll_wait(inner, &e, 1, 0) == 1 && e.data.u32 == 1);
        CHECK(epoll_wait(inner, &e, 1, 0) == 0);  // edge: told once
        CHECK(epoll_wait(outer, &e, 1, 0) == 0);
        seen++;
    }
    finish(t);
    char b[64];
    CHECK(recv(fds[0], b, sizeof b, 0) == 30);
    // An edge set tells once about data that is there already, also to a waiter that comes later.
    put(fds[1], "early", 5);
    int late = epoll_create1(0);
    add(late, fds[0], EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, 5);
    epoll_event e;
    CHECK(epoll_wait(late, &e, 1, -1) == 1 && e.events == (EPOLLIN | EPOLLOUT));
    CHECK(epoll_wait(late, &e, 1, 0) == 0);
    shutdown(fds[1], SHUT_WR);
    CHECK(epoll_wait(late, &e, 1, -1) == 1 && (e.events & EPOLLRDHUP) && (e.events & EPOLLIN));
    // A closed descriptor leaves every set by itself, unless a duplicate keeps the file.
    int copy = dup(fds[0]);
    close(fds[0]);
    shutdown(fds[1], SHUT_RDWR);
    CHECK(epoll_wait(late, &e, 1, -1) == 1 && (e.events & EPOLLHUP));
    close(copy);
    CHECK(epoll_wait(late, &e, 1, 20) == 0);
    CHECK(epoll_ctl(late, EPOLL_CTL_ADD, late, &e) == -1 && errno == EINVAL);
    CHECK(epoll_ctl(inner, EPOLL_CTL_ADD, outer, &e) == -1 && errno == ELOOP);
    int file = open("/proc/self/exe", O_RDONLY);
    CHECK(epoll_ctl(late, EPOLL_CTL_ADD, file, &e) == -1 && errno == EPERM);
    CHECK(epoll_ctl(late, EPOLL_CTL_DEL, fds[1], nullptr) == -1 && errno == ENOENT);
    CHECK(epoll_create(0) == -1 && errno == EINVAL);
    printf("%d nested events\n", seen);
    return seen != 30;
}
