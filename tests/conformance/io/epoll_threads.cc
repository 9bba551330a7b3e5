// Several threads wait on one epoll instance of the program: level, edge, one-shot and exclusive
// registrations, every spelling and kind of timeout, nesting, changes while others wait; select of
// numbers above 1,024; the flags of descriptors that other threads use are the program's.
// limit: 60
// expect: fibers>=20 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/timerfd.h>

static int instance;
static std::atomic<long> taken;
static std::atomic<bool> stop;
static uint32_t mode;

static void watch(int op, int fd, uint32_t events) {
    epoll_event e = {};
    e.events = events;
    e.data.fd = fd;
    // Taken away already when the test is over.
    if (epoll_ctl(instance, op, fd, &e) != 0) CHECK(op == EPOLL_CTL_MOD && errno == ENOENT);
}

// Takes bytes as a worker of a server does.
static void* worker(void*) {
    while (!stop) {
        epoll_event e[4];
        int n = epoll_wait(instance, e, 4, 2000);
        CHECK(n >= 0);
        for (int i = 0; i < n; i++) {
            if (e[i].data.fd == -1) return nullptr;
            char data[64];
            for (;;) {
                ssize_t got = read(e[i].data.fd, data, sizeof data);
                if (got == -1 && errno == EAGAIN) break;
                CHECK(got > 0);
                taken += got;
                if ((mode & EPOLLET) == 0) break;
            }
            if (mode & EPOLLONESHOT) watch(EPOLL_CTL_MOD, e[i].data.fd, EPOLLIN | mode);
        }
    }
    return nullptr;
}

static void many_workers(const char* name, uint32_t how) {
    mode = how, stop = false, taken = 0;
    instance = epoll_create1(EPOLL_CLOEXEC);
    int pipes[16][2];
    for (auto& p : pipes) {
        CHECK(pipe2(p, O_NONBLOCK) == 0);
        watch(EPOLL_CTL_ADD, p[0], EPOLLIN | how);
    }
    pthread_t t[8];
    for (pthread_t& one : t) one = start(worker, nullptr);
    long sent = 0;
    for (int r = 0; r < 200; r++) {
        ssize_t n = write(pipes[r % 16][1], "0123456789", 10);
        CHECK(n == 10);
        sent += n;
        if (r % 10 == 0) nap(1);
    }
    while (taken < sent) nap(1);
    int over = eventfd(1, 0);
    epoll_event e = {};
    e.events = EPOLLIN;
    e.data.fd = -1;
    for (auto& p : pipes) watch(EPOLL_CTL_DEL, p[0], 0);
    CHECK(epoll_ctl(instance, EPOLL_CTL_ADD, over, &e) == 0);
    for (pthread_t one : t) pthread_join(one, nullptr);
    printf("%s: %ld bytes\n", name, taken.load());
    for (auto& p : pipes) close(p[0]), close(p[1]);
    close(over);
    close(instance);
}

static void timeouts() {
    instance = epoll_create(1);
    epoll_event e;
    timespec shortly = {0, 20000000}, none = {0, 0}, bad = {0, 1000000000}, past = {-1, 0};
    int64_t before = now_ms();
    printf("timeouts: %d %d %d %d %d %d\n", epoll_wait(instance, &e, 1, 20),
           epoll_wait(instance, &e, 1, 0), epoll_pwait(instance, &e, 1, 20, nullptr),
           epoll_pwait2(instance, &e, 1, &shortly, nullptr),
           epoll_pwait2(instance, &e, 1, &none, nullptr),
           epoll_pwait2(instance, &e, 1, &bad, nullptr));
    CHECK(now_ms() - before >= 59);
    printf("bad: %d", epoll_pwait2(instance, &e, 1, &past, nullptr));
    printf(" %s", strerrorname_np(errno));
    printf(" %d", epoll_wait(instance, &e, 0, 20));
    printf(" %s", strerrorname_np(errno));
    printf(" %d", epoll_wait(0, &e, 1, 20));
    printf(" %s", strerrorname_np(errno));
    printf(" %d", epoll_wait(-1, &e, 1, 20));
    printf(" %s\n", strerrorname_np(errno));
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    itimerspec when = {{0, 0}, {0, 30000000}};
    watch(EPOLL_CTL_ADD, timer, EPOLLIN);
    CHECK(timerfd_settime(timer, 0, &when, nullptr) == 0);
    int outer = epoll_create1(0), inner = instance;
    instance = outer;
    watch(EPOLL_CTL_ADD, inner, EPOLLIN | EPOLLET);
    printf("nested: %d", epoll_wait(outer, &e, 1, 5000));
    printf(" %d", epoll_wait(inner, &e, 1, 0));
    printf(" %d\n", epoll_wait(outer, &e, 1, 10));
    close(timer);
    close(inner);
    close(outer);
}

static void* adder(void* arg) {
    nap(20);
    watch(EPOLL_CTL_ADD, (int)(intptr_t)arg, EPOLLIN);
    return nullptr;
}

static void changes() {
    instance = epoll_create1(0);
    int ready = eventfd(1, 0);
    pthread_t t = start(adder, (void*)(intptr_t)ready);
    epoll_event e;
    printf("added while waiting: %d\n", epoll_wait(instance, &e, 1, 5000));
    finish(t);
    close(ready);
    printf("closed: %d\n", epoll_wait(instance, &e, 1, 10));
    close(instance);
}

static void* put_later(void* arg) {
    nap(20);
    put((int)(intptr_t)arg, "x", 1);
    return nullptr;
}

static void high_numbers() {
    rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int p[2];
    CHECK(pipe(p) == 0 && dup2(p[0], 2000) == 2000);
    close(p[0]);
    auto* set = static_cast<fd_set*>(calloc(4096 / 8, 1));
    auto* words = reinterpret_cast<unsigned long*>(set);
    words[2000 / 64] |= 1ul << (2000 % 64);
    pthread_t t = start(put_later, (void*)(intptr_t)p[1]);
    int n = select(2001, set, nullptr, nullptr, nullptr);
    printf("select above 1024: %d %d\n", n, (int)(words[2000 / 64] >> (2000 % 64) & 1));
    finish(t);
    free(set);
    close(2000);
    close(p[1]);
}

static std::atomic<int> strays;
static int looked_at[2];
static void* look(void*) {
    while (!stop)
        for (int fd : looked_at)
            if (fcntl(fd, F_GETFL) & O_NONBLOCK) strays++;
    return nullptr;
}

// Nobody sees a flag that the program did not set: another thread, a fork or exec child, a
// receiver.
static void flags() {
    stop = false, strays = 0;
    int listener = tcp_listen(5);
    looked_at[0] = looked_at[1] = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t t = start(look, nullptr);
    for (int i = 0; i < 24; i++) {
        sockaddr_in a = loopback(port_of(listener));
        CHECK(connect(looked_at[0], (sockaddr*)&a, sizeof a) == 0);
        int peer = accept(listener, nullptr, nullptr);
        put(peer, "x", 1);
        char c;
        CHECK(take(looked_at[0], &c, 1) == 1);
        pid_t child = i % 8 ? -1 : fork();
        if (child == 0) {
            char script[128];
            snprintf(script, sizeof script,
                     "ls /proc/self/fd | wc -l; grep flags /proc/self/fdinfo/%d", peer);
            if (i == 0) execl("/bin/sh", "sh", "-c", script, nullptr);
            _exit(fcntl(peer, F_GETFL) & O_NONBLOCK ? 1 : 0);
        }
        if (child > 0) CHECK(exited_with(reap(child), 0));
        close(peer);
        sockaddr none = {};
        none.sa_family = AF_UNSPEC;
        CHECK(connect(looked_at[0], &none, sizeof none) == 0);
    }
    stop = true;
    finish(t);
    int on = 1;
    CHECK(ioctl(listener, FIONBIO, &on) == 0);
    int copy = dup(listener);
    printf("strays %d, FIONBIO %d, copy %d", strays.load(),
           !!(fcntl(listener, F_GETFL) & O_NONBLOCK), !!(fcntl(copy, F_GETFL) & O_NONBLOCK));
    printf(", accept %d", accept(copy, nullptr, nullptr));
    printf(" %s\n", strerrorname_np(errno));
    close(looked_at[0]);
    close(listener);
    close(copy);
}

int main() {
    setvbuf(stdout, nullptr, _IOLBF, 0);
    many_workers("level", 0);
    many_workers("edge", EPOLLET);
    many_workers("one-shot", EPOLLONESHOT);
    many_workers("edge one-shot", EPOLLET | EPOLLONESHOT);
    many_workers("exclusive", EPOLLEXCLUSIVE);
    timeouts();
    changes();
    high_numbers();
    flags();
    return 0;
}
