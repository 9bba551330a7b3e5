// Every other spelling of the calls on descriptors, looked up by name as old programs and libraries
// bind to them: each waits once for another thread, and fails once as its manual page says.
// expect: fibers>=2 native_fallbacks=0 missed_blocking=0 handoffs=0 parks_io>=18 parks_timer>=20
#include "../../support/twin.h"
#include "../../support/spelled.h"

#include <sys/select.h>
#include <sys/stat.h>
#include <threads.h>

static int fds[2];
static sem_t ask;
static bool ended;

// Answers every request with five bytes, late.
static void* answers(void*) {
    for (;;) {
        wait_sem(&ask);
        if (ended) return nullptr;
        nap(20);
        put(fds[1], "abcde", 5);
    }
}
static char in[16];
static void expect(ssize_t n) {
    CHECK(n == 5 && memcmp(in, "abcde", 5) == 0);
    memset(in, 0, sizeof in);
}

static void reads() {
    for (const char* name : {"__read", "read"}) {
        auto* call = spelled<ssize_t(int, void*, size_t)>(name);
        sem_post(&ask);
        expect(call(fds[0], in, 16));
        CHECK_ERRNO(call(-1, in, 1), EBADF);
    }
    auto* uncancelled = spelled<ssize_t(int, void*, size_t)>("__read_nocancel");
    sem_post(&ask);
    expect(uncancelled(fds[0], in, 16));
    auto* read_chk = spelled<ssize_t(int, void*, size_t, size_t)>("__read_chk");
    sem_post(&ask);
    expect(read_chk(fds[0], in, 16, 16));
    CHECK_ERRNO(read_chk(-1, in, 1, 16), EBADF);
    for (const char* name : {"recv", "__recv"}) {
        auto* call = spelled<ssize_t(int, void*, size_t, int)>(name);
        sem_post(&ask);
        expect(call(fds[0], in, 16, 0));
        CHECK_ERRNO(call(fds[0], in, 16, MSG_DONTWAIT), EAGAIN);
    }
    auto* recv_chk = spelled<ssize_t(int, void*, size_t, size_t, int)>("__recv_chk");
    sem_post(&ask);
    expect(recv_chk(fds[0], in, 16, 16, 0));
    CHECK_ERRNO(recv_chk(-1, in, 1, 16, 0), EBADF);
    auto* recvfrom_chk =
        spelled<ssize_t(int, void*, size_t, size_t, int, void*, void*)>("__recvfrom_chk");
    sem_post(&ask);
    expect(recvfrom_chk(fds[0], in, 16, 16, 0, nullptr, nullptr));
    CHECK_ERRNO(recvfrom_chk(-1, in, 1, 16, 0, nullptr, nullptr), EBADF);
}

static void polls() {
    pollfd one = {fds[0], POLLIN, 0};
    for (const char* name : {"poll", "__poll"}) {
        auto* call = spelled<int(pollfd*, nfds_t, int)>(name);
        sem_post(&ask);
        CHECK(call(&one, 1, -1) == 1 && one.revents == POLLIN);
        expect(read(fds[0], in, 16));
        CHECK_ERRNO(call(&one, 1 << 30, 0), EINVAL);
    }
    auto* poll_chk = spelled<int(pollfd*, nfds_t, int, size_t)>("__poll_chk");
    sem_post(&ask);
    CHECK(poll_chk(&one, 1, -1, sizeof one) == 1);
    expect(read(fds[0], in, 16));
    auto* ppoll_chk =
        spelled<int(pollfd*, nfds_t, const timespec*, const sigset_t*, size_t)>("__ppoll_chk");
    sem_post(&ask);
    CHECK(ppoll_chk(&one, 1, nullptr, nullptr, sizeof one) == 1);
    expect(read(fds[0], in, 16));
    const timespec bad = {0, -1};
    CHECK_ERRNO(ppoll_chk(&one, 1, &bad, nullptr, sizeof one), EINVAL);
    for (const char* name : {"select", "__select"}) {
        auto* call = spelled<int(int, fd_set*, fd_set*, fd_set*, timeval*)>(name);
        fd_set set;
        FD_ZERO(&set);
        FD_SET(fds[0], &set);
        sem_post(&ask);
        CHECK(call(fds[0] + 1, &set, nullptr, nullptr, nullptr) == 1 && FD_ISSET(fds[0], &set));
        expect(read(fds[0], in, 16));
        CHECK_ERRNO(call(-1, nullptr, nullptr, nullptr, nullptr), EINVAL);
    }
}

static void* empties(void* fd) {
    nap(20);
    static char all[1 << 20];
    size_t got = 0;
    while (got < sizeof all) {
        const ssize_t n = read((int)(intptr_t)fd, all + got, sizeof all - got);
        CHECK(n > 0);
        got += (size_t)n;
    }
    return nullptr;
}
static void writes() {
    static char much[1 << 20];
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    for (const char* name : {"__write", "__write_nocancel"}) {
        auto* call = spelled<ssize_t(int, const void*, size_t)>(name);
        const pthread_t reader = start(empties, (void*)(intptr_t)pair[1]);
        CHECK_EQ(call(pair[0], much, sizeof much), (ssize_t)sizeof much);
        finish(reader);
        CHECK_ERRNO(call(-1, much, 1), EBADF);
    }
    auto* send_call = spelled<ssize_t(int, const void*, size_t, int)>("__send");
    const pthread_t reader = start(empties, (void*)(intptr_t)pair[1]);
    CHECK_EQ(send_call(pair[0], much, sizeof much, 0), (ssize_t)sizeof much);
    finish(reader);
    CHECK_ERRNO(send_call(-1, much, 1, 0), EBADF);
    auto* sendmmsg_call = spelled<int(int, mmsghdr*, unsigned, int)>("__sendmmsg");
    iovec part = {much, 5};
    mmsghdr messages[2] = {};
    messages[0].msg_hdr.msg_iov = messages[1].msg_hdr.msg_iov = &part;
    messages[0].msg_hdr.msg_iovlen = messages[1].msg_hdr.msg_iovlen = 1;
    CHECK(sendmmsg_call(pair[0], messages, 2, 0) == 2 && messages[1].msg_len == 5);
    CHECK_ERRNO(sendmmsg_call(-1, messages, 2, 0), EBADF);
    CHECK(close(pair[0]) == 0 && close(pair[1]) == 0);
}

static void makes() {
    auto* socket_call = spelled<int(int, int, int)>("__socket");
    auto* connect_call = spelled<int(int, const sockaddr*, socklen_t)>("__connect");
    const int listener = socket(AF_INET, SOCK_STREAM, 0),
              client = socket_call(AF_INET, SOCK_STREAM, 0);
    CHECK(listener >= 0 && client >= 0);
    CHECK_ERRNO(socket_call(-1, SOCK_STREAM, 0), EAFNOSUPPORT);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    CHECK(bind(listener, (sockaddr*)&address, size) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (sockaddr*)&address, &size) == 0);
    CHECK(connect_call(client, (sockaddr*)&address, size) == 0);
    CHECK_ERRNO(connect_call(client, (sockaddr*)&address, size), EISCONN);
    auto* dup_call = spelled<int(int, int)>("__dup2");
    const int target = open("/dev/null", O_RDONLY);
    CHECK_EQ(dup_call(client, target), target);
    CHECK_ERRNO(dup_call(-1, target), EBADF);
    CHECK(getpeername(target, (sockaddr*)&address, &size) == 0 && close(listener) == 0);
    auto* close_call = spelled<int(int)>("__close");
    CHECK(close_call(target) == 0);
    CHECK_ERRNO(close_call(target), EBADF);
    auto* quiet_close = spelled<int(int)>("__close_nocancel");
    CHECK(quiet_close(client) == 0);
    CHECK_ERRNO(quiet_close(client), EBADF);
    int pair[2];
    auto* pipe_call = spelled<int(int*)>("__pipe");
    CHECK(pipe_call(pair) == 0 && write(pair[1], "x", 1) == 1 && read(pair[0], in, 2) == 1);
    for (const char* name : {"fcntl", "fcntl64", "__fcntl", "__libc_fcntl64"}) {
        auto* call = spelled<int(int, int, ...)>(name);
        CHECK(call(pair[0], F_SETFL, O_NONBLOCK) == 0 &&
              (call(pair[0], F_GETFL) & O_NONBLOCK) != 0);
        CHECK_ERRNO(read(pair[0], in, 1), EAGAIN);
        CHECK(call(pair[0], F_SETFL, 0) == 0);
        const int copy = call(pair[0], F_DUPFD_CLOEXEC, 50);
        CHECK(copy >= 50 && call(copy, F_GETFD) == FD_CLOEXEC && close(copy) == 0);
        CHECK_ERRNO(call(-1, F_GETFD), EBADF);
        CHECK_ERRNO(call(pair[0], 9999), EINVAL);
    }
    FILE* stream = fdopen(pair[0], "r");
    auto* fclose_call = spelled<int(FILE*)>("_IO_fclose");
    CHECK(stream != nullptr && fclose_call(stream) == 0);
    CHECK_ERRNO(read(pair[0], in, 1), EBADF);
    CHECK(close(pair[1]) == 0);
}

static void sleeps() {
    auto* call = spelled<int(const timespec*, timespec*)>("__nanosleep");
    const timespec little = {0, 3000000}, bad = {0, -1};
    const int64_t before = now_ms();
    CHECK(call(&little, nullptr) == 0 && now_ms() >= before + 2);
    CHECK_ERRNO(call(&bad, nullptr), EINVAL);
    CHECK(usleep(3000) == 0 && sleep(0) == 0);
    CHECK(thrd_sleep(&little, nullptr) == 0 && thrd_sleep(&bad, nullptr) < -1);
    CHECK(now_ms() >= before + 8);
    auto* clock_call = spelled<int(clockid_t, timespec*)>("__clock_gettime");
    timespec now = {}, again = {};
    CHECK(clock_call(CLOCK_MONOTONIC, &now) == 0 && clock_gettime(CLOCK_MONOTONIC, &again) == 0);
    CHECK(now.tv_sec > 0 && again.tv_sec >= now.tv_sec);
    CHECK_ERRNO(clock_call(99, &now), EINVAL);
    for (const char* name : {"__sched_yield", "pthread_yield"}) {
        auto* yield_call = spelled<int()>(name);
        CHECK(yield_call() == 0);
    }
}

static void* all(void*) {
    reads();
    polls();
    writes();
    makes();
    sleeps();
    ended = true;
    sem_post(&ask);
    return nullptr;
}

int main() {
    CHECK_OK(sem_init(&ask, 0, 0));
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    const pthread_t other = start(answers, nullptr);
    finish(start(all, nullptr));
    finish(other);
    return 0;
}
