// poll over 500 descriptors and select with numbers near FD_SETSIZE, from several threads at once,
// each woken by its own; with a timeout, and with the same descriptor polled by several threads
// and in several slots.
// expect: fibers>=8 native_fallbacks=0 locked=0
#include "../../support/twin.h"
#include <sys/resource.h>
#include <sys/select.h>
#include <vector>

static const int n = 200;
static int fds[n][2];
static std::vector<pollfd> all() {
    std::vector<pollfd> p;
    for (int i = 0; i < 500; i++) p.push_back({fds[i % n][0], POLLIN, 0});
    return p;
}

static void* poller(void*) {
    // All see the same byte; nobody reads it before all have reported.
    std::vector<pollfd> p = all();
    int ready = poll(p.data(), p.size(), 20000), index = -1;
    for (size_t i = 0; i < p.size(); i++) {
        if (!p[i].revents) continue;
        CHECK(p[i].revents == POLLIN);
        if (index < 0) index = (int)i;
        CHECK((int)i % n == index % n);
    }
    CHECK(ready == (index < 100 ? 3 : 2));
    return (void*)(intptr_t)index;
}

static void* selecter(void*) {
    fd_set r;
    FD_ZERO(&r);
    int top = 0;
    for (auto& pair : fds) {
        FD_SET(pair[0], &r);
        if (pair[0] > top) top = pair[0];
    }
    CHECK(top >= 900 && top < FD_SETSIZE);
    CHECK(select(top + 1, &r, nullptr, nullptr, nullptr) == 1);
    for (int i = 0; i < n; i++)
        if (FD_ISSET(fds[i][0], &r)) return (void*)(intptr_t)i;
    return (void*)-1;
}

int main() {
    rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur < 1024) {
        limit.rlim_cur = 1024;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) SKIP("1024 descriptors are not allowed");
    }
    for (int fd = 3; fd < 1024; fd++) close(fd);
    for (int i = 0; i < n; i++) {
        unix_pair(fds[i]);
        int high = 800 + i;  // near the end of an fd_set, below FD_SETSIZE
        CHECK(dup2(fds[i][0], high) == high);
        close(fds[i][0]);
        fds[i][0] = high;
    }
    std::vector<pollfd> p = all();
    int64_t t0 = now_ms();
    CHECK(poll(p.data(), p.size(), 100) == 0 && now_ms() - t0 >= 99);
    int right = 0;
    for (int target : {3, 99, 100, 199}) {
        pthread_t t[2] = {start(poller, nullptr), start(poller, nullptr)},
                  s = start(selecter, nullptr);
        nap(20);
        put(fds[target][1], "x", 1);
        for (pthread_t one : t) right += (int)(intptr_t)finish(one) == target;
        right += (int)(intptr_t)finish(s) == target;
        char c;
        CHECK(take(fds[target][0], &c, 1) == 1);
    }
    printf("%d of 12 woken by the right descriptor\n", right);
    return right != 12;
}
