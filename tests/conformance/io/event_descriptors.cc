// eventfd, timerfd and signalfd block and count as documented; eventfd writers block at the
// maximum; several readers of one semaphore-mode eventfd get one unit each; inotify delivers what
// happened.
// expect: fibers>=9 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static int fd;
static std::atomic<uint64_t> sum;
static std::atomic<int> reads;

static void* unit_reader(void*) {
    eventfd_t v;
    for (int i = 0; i < 25; i++) {
        CHECK(eventfd_read(fd, &v) == 0 && v == 1);
        reads++;
    }
    return nullptr;
}
static void* sum_reader(void* arg) {
    uint64_t v, want = (uint64_t)(intptr_t)arg, mine = 0;
    while (mine < want) {
        CHECK(read(fd, &v, 8) == 8 && v > 0);
        mine += v;
    }
    sum = mine;
    return nullptr;
}
static void* full_writer(void*) {
    CHECK(eventfd_write(fd, 5) == 0);  // has to wait for room
    sum = 1;
    return nullptr;
}
static void* timer_reader(void*) {
    uint64_t total = 0, v;
    while (total < 5) {
        CHECK(read(fd, &v, 8) == 8 && v >= 1);
        total += v;
    }
    return (void*)1;
}
static void* signal_reader(void*) {
    signalfd_siginfo info;
    int got = 0;
    while (got < 10) {
        CHECK(read(fd, &info, sizeof info) == sizeof info);
        CHECK(info.ssi_signo == (unsigned)SIGRTMIN + 1 && info.ssi_int == got);
        CHECK(info.ssi_pid == (unsigned)getpid());
        got++;
    }
    return (void*)(intptr_t)got;
}
static void* inotify_reader(void* arg) {
    char b[4096];
    int seen = 0;
    alignas(inotify_event) static char copy[sizeof(inotify_event)];
    while (seen < 2) {
        ssize_t n = read((int)(intptr_t)arg, b, sizeof b);
        CHECK(n > 0);
        for (ssize_t at = 0; at < n;) {
            memcpy(copy, b + at, sizeof copy);
            inotify_event* e = (inotify_event*)copy;
            seen += (e->mask & (IN_CREATE | IN_DELETE)) && strcmp(b + at + sizeof *e, "made") == 0;
            at += (ssize_t)(sizeof *e + e->len);
        }
    }
    return (void*)(intptr_t)seen;
}

int main() {
    CHECK((fd = eventfd(0, EFD_SEMAPHORE)) >= 0);
    pthread_t t[4];
    for (auto& one : t) one = start(unit_reader, nullptr);
    for (int i = 0; i < 20; i++) {
        CHECK(eventfd_write(fd, 5) == 0);
        if (i % 5 == 0) nap(2);
    }
    for (auto& one : t) finish(one);
    printf("semaphore eventfd: %d reads\n", (int)reads);
    close(fd);
    CHECK((fd = eventfd(0, 0)) >= 0);
    t[0] = start(sum_reader, (void*)1000);
    for (int i = 0; i < 100; i++) {
        uint64_t v = 10;
        CHECK(write(fd, &v, 8) == 8);
        if (i % 20 == 0) nap(1);
    }
    finish(t[0]);
    printf("eventfd: %d\n", (int)sum);
    char b[4];
    CHECK(read(fd, b, 4) == -1 && errno == EINVAL);
    uint64_t most = UINT64_MAX;
    CHECK(write(fd, &most, 8) == -1 && errno == EINVAL);
    sum = 0;
    CHECK(eventfd_write(fd, UINT64_MAX - 3) == 0);
    t[0] = start(full_writer, nullptr);
    nap(20);
    CHECK(sum == 0);
    eventfd_t v;
    CHECK(eventfd_read(fd, &v) == 0 && v == UINT64_MAX - 3);
    finish(t[0]);
    CHECK(eventfd_read(fd, &v) == 0 && v == 5);
    close(fd);

    CHECK((fd = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
    itimerspec s = {{0, 10000000}, {0, 20000000}};
    int64_t t0 = now_ms();
    CHECK(timerfd_settime(fd, 0, &s, nullptr) == 0);
    CHECK(finish(start(timer_reader, nullptr)) && now_ms() - t0 >= 59);
    timespec past = {1, 0};
    s = {{0, 0}, past};
    CHECK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &s, nullptr) == 0);
    uint64_t n;
    CHECK(read(fd, &n, 8) == 8 && n == 1);
    close(fd);
    puts("timerfd ok");

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
    CHECK((fd = signalfd(-1, &set, 0)) >= 0);
    t[0] = start(signal_reader, nullptr);
    for (int i = 0; i < 10; i++) {
        sigval value;
        value.sival_int = i;
        CHECK(sigqueue(getpid(), SIGRTMIN + 1, value) == 0);
        if (i % 4 == 0) nap(3);
    }
    printf("signalfd: %d\n", (int)(intptr_t)finish(t[0]));
    close(fd);

    char dir[] = "/tmp/pfiber-twin-XXXXXX", path[64];
    CHECK(mkdtemp(dir));
    int watch = inotify_init1(IN_CLOEXEC);
    CHECK(inotify_add_watch(watch, dir, IN_CREATE | IN_DELETE) >= 0);
    t[0] = start(inotify_reader, (void*)(intptr_t)watch);
    nap(10);
    snprintf(path, sizeof path, "%s/made", dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    nap(10);
    unlink(path);
    printf("inotify: %d\n", (int)(intptr_t)finish(t[0]));
    rmdir(dir);
    return 0;
}
