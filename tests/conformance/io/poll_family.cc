// poll, ppoll, select, pselect, epoll_wait, epoll_pwait and epoll_pwait2 wait for data, return 0
// after their time and report errors as documented.
#include "../../support/twin.h"
#include <sys/epoll.h>
#include <sys/select.h>

static int fds[2], ep;
struct Call {
    const char* name;
    int (*wait)(int ms);  // 1 when fds[0] is readable; ms < 0 waits for ever
};
static timespec span(int ms) { return {ms / 1000, ms % 1000 * 1000000L}; }
static const Call calls[] = {
    {"poll",
     [](int ms) {
         pollfd p = {fds[0], POLLIN, 0};
         int n = poll(&p, 1, ms);
         CHECK(n != 1 || p.revents == POLLIN);
         return n;
     }},
    {"ppoll",
     [](int ms) {
         pollfd p = {fds[0], POLLIN, 0};
         timespec t = span(ms);
         sigset_t none;
         sigemptyset(&none);
         int n = ppoll(&p, 1, ms < 0 ? nullptr : &t, &none);
         CHECK(n != 1 || p.revents == POLLIN);
         return n;
     }},
    {"select",
     [](int ms) {
         fd_set r, w;
         FD_ZERO(&r);
         FD_ZERO(&w);
         FD_SET(fds[0], &r);
         timeval t = {ms / 1000, ms % 1000 * 1000};
         int n = select(fds[0] + 1, &r, &w, nullptr, ms < 0 ? nullptr : &t);
         CHECK(FD_ISSET(fds[0], &r) == (n == 1));
         if (ms >= 0 && n == 0) CHECK(t.tv_sec == 0 && t.tv_usec == 0);  // Linux writes the rest.
         return n;
     }},
    {"pselect",
     [](int ms) {
         fd_set r;
         FD_ZERO(&r);
         FD_SET(fds[0], &r);
         timespec t = span(ms);
         int n = pselect(fds[0] + 1, &r, nullptr, nullptr, ms < 0 ? nullptr : &t, nullptr);
         CHECK(ms < 0 || (t.tv_sec == ms / 1000 && t.tv_nsec == ms % 1000 * 1000000L));
         CHECK(FD_ISSET(fds[0], &r) == (n == 1));
         return n;
     }},
    {"epoll_wait",
     [](int ms) {
         epoll_event e[2];
         int n = epoll_wait(ep, e, 2, ms);
         CHECK(n != 1 || (e[0].events == EPOLLIN && e[0].data.u64 == 77));
         return n;
     }},
    {"epoll_pwait",
     [](int ms) {
         epoll_event e[2];
         sigset_t none;
         sigemptyset(&none);
         int n = epoll_pwait(ep, e, 2, ms, &none);
         CHECK(n != 1 || (e[0].events == EPOLLIN && e[0].data.u64 == 77));
         return n;
     }},
    {"epoll_pwait2",
     [](int ms) {
         epoll_event e[2];
         timespec t = span(ms);
         int n = epoll_pwait2(ep, e, 2, ms < 0 ? nullptr : &t, nullptr);
         CHECK(n != 1 || (e[0].events == EPOLLIN && e[0].data.u64 == 77));
         return n;
     }},
};

static sem_t ready;
static void* late(void*) {
    wait_sem(&ready);
    nap(20);
    put(fds[1], "x", 1);
    return nullptr;
}

int main() {
    CHECK(sem_init(&ready, 0, 0) == 0);
    unix_pair(fds);
    CHECK((ep = epoll_create1(EPOLL_CLOEXEC)) >= 0);
    epoll_event e = {};
    e.events = EPOLLIN;
    e.data.u64 = 77;
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &e) == 0);
    for (const Call& c : calls) {
        CHECK(c.wait(0) == 0);
        int64_t t0 = now_ms();
        CHECK(c.wait(60) == 0);
        CHECK(now_ms() - t0 >= 59);
        for (int ms : {-1, 10000}) {
            pthread_t t = start(late, nullptr);
            sem_post(&ready);
            CHECK(c.wait(ms) == 1);
            CHECK(c.wait(0) == 1);
            finish(t);
            char b;
            CHECK(read(fds[0], &b, 1) == 1);
        }
        printf("%s ok\n", c.name);
    }
    // Several kinds of answers in one call.
    int p2[2];
    CHECK(pipe(p2) == 0);
    int gone = dup(fds[0]);
    close(gone);
    pollfd p[5] = {{gone, POLLIN, 0},
                   {fds[1], POLLOUT, 0},
                   {-1, POLLIN, 9},
                   {fds[0], POLLIN, 0},
                   {p2[0], POLLIN, 0}};
    CHECK(gone > p2[1]);
    close(p2[1]);
    CHECK(poll(p, 5, -1) == 3);
    CHECK(p[0].revents == POLLNVAL && p[1].revents == POLLOUT && p[2].revents == 0);
    CHECK(p[3].revents == 0 && p[4].revents == POLLHUP);
    fd_set bad;
    FD_ZERO(&bad);
    FD_SET(gone, &bad);
    CHECK(select(gone + 1, &bad, nullptr, nullptr, nullptr) == -1 && errno == EBADF);
    epoll_event out[1];
    CHECK(epoll_wait(fds[0], out, 1, 0) == -1 && errno == EINVAL);
    CHECK(epoll_wait(gone, out, 1, 0) == -1 && errno == EBADF);
    CHECK(epoll_wait(ep, out, 0, 0) == -1 && errno == EINVAL);
    timespec wrong = {0, 2000000000};
    CHECK(ppoll(p, 1, &wrong, nullptr) == -1 && errno == EINVAL);
    timeval minus = {-1, 0};
    CHECK(select(0, nullptr, nullptr, nullptr, &minus) == -1 && errno == EINVAL);
    puts("errors ok");
    return 0;
}
