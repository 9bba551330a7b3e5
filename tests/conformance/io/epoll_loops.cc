// The program's own epoll loops beside blocking threads: level, edge and one-shot triggering,
// several threads in one epoll_wait, EPOLLEXCLUSIVE, changes of the set while somebody waits in
// it.
// expect: fibers>=30 native_fallbacks=0 locked=0
#include "../../support/twin.h"
#include <atomic>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static const int connections = 16, messages = 50, waiters = 4;
static int ep, stop_fd;
static unsigned mode;
static int fds[connections][2];
static std::atomic<int> events, bytes;

// One loop of an event-driven server: answers each byte with its successor.
static void* loop(void*) {
    epoll_event e[8];
    while (true) {
        int n = epoll_wait(ep, e, 8, -1);
        CHECK(n > 0);
        for (int i = 0; i < n; i++) {
            int fd = e[i].data.fd;
            if (fd == stop_fd)
                return nullptr;  // level triggered and never read: reaches every loop
            events++;
            while (true) {
                unsigned char c[16];
                ssize_t got = recv(fd, c, sizeof c, MSG_DONTWAIT);
                if (got == -1) {
                    CHECK(errno == EAGAIN);
                    break;
                }
                CHECK(got > 0);
                bytes += (int)got;
                for (ssize_t k = 0; k < got; k++) c[k]++;
                put(fd, c, (size_t)got);
                if (!(mode & EPOLLET)) break;
            }
            if (mode & EPOLLONESHOT) {
                epoll_event again = {};
                again.events = EPOLLIN | mode;
                again.data.fd = fd;
                CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &again) == 0);
            }
        }
    }
}

static void* client(void* arg) {
    int fd = fds[(intptr_t)arg][0], good = 0;
    for (int i = 0; i < messages; i++) {
        unsigned char c[3] = {(unsigned char)i, 7, 9}, back[3];
        put(fd, c, 3);
        CHECK(take(fd, back, 3) == 3);
        good += back[0] == (unsigned char)(c[0] + 1) && back[1] == 8 && back[2] == 10;
    }
    return (void*)(intptr_t)good;
}

static void run(const char* name, unsigned flags, int loops) {
    mode = flags;
    events = bytes = 0;
    CHECK((ep = epoll_create1(0)) >= 0);
    CHECK((stop_fd = eventfd(0, 0)) >= 0);
    epoll_event e = {};
    e.events = EPOLLIN;
    e.data.fd = stop_fd;
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, stop_fd, &e) == 0);
    pthread_t server[waiters], t[connections];
    // The loops wait in an empty set before the connections are added to it.
    for (int i = 0; i < loops; i++) server[i] = start(loop, nullptr);
    nap(5);
    for (int i = 0; i < connections; i++) {
        unix_pair(fds[i]);
        e.events = EPOLLIN | flags;
        e.data.fd = fds[i][1];
        CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[i][1], &e) == 0);
        CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[i][1], &e) == -1 && errno == EEXIST);
        t[i] = start(client, (void*)(intptr_t)i);
    }
    int good = 0;
    for (pthread_t one : t) good += (int)(intptr_t)finish(one);
    CHECK(eventfd_write(stop_fd, 1) == 0);
    for (int i = 0; i < loops; i++) finish(server[i]);
    CHECK(events > 0 && bytes == connections * messages * 3);
    printf("%s: %d replies, %d bytes\n", name, good, (int)bytes);
    CHECK(good == connections * messages);
    CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, fds[0][1], nullptr) == 0);
    CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, fds[0][1], &e) == -1 && errno == ENOENT);
    for (auto& pair : fds) {
        close(pair[0]);
        close(pair[1]);
    }
    close(ep);
    close(stop_fd);
}

int main() {
    run("level, one loop", 0, 1);
    run("edge, one loop", EPOLLET, 1);
    run("one-shot, one loop", EPOLLONESHOT, 1);
    run("one-shot, four loops", EPOLLONESHOT, waiters);
    run("edge one-shot, four loops", EPOLLET | EPOLLONESHOT, waiters);
    return 0;
}
