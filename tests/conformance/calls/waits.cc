// Every call that waits for a descriptor waits once for another thread, in each direction: the
// caller is parked, and nothing sleeps where no hook saw it; only the two receives from a message
// queue hand their processor off.
// expect: fibers>=33 native_fallbacks=0 missed_blocking=0 handoffs<=2 parks_io>=15
#include "../../support/twin.h"

#include <mqueue.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/timerfd.h>

static int fds[2];  // what is waited for, and the other end
static char in[1 << 16], out[1 << 20];
static const timespec minute = {60, 0};

static void* gives(void*) {
    nap(20);
    put(fds[1], "abcde", 5);
    return nullptr;
}
static void receiving(const char* name, bool is_pipe, ssize_t (*call)()) {
    if (is_pipe)
        CHECK(pipe(fds) == 0);
    else
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    memset(in, 0, 8);
    const pthread_t other = start(gives, nullptr);
    printf("%s %d\n", name, (int)call());
    finish(other);
    CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
}
#define RECEIVING(name, is_pipe, expression) \
    receiving(#name, is_pipe, []() -> ssize_t { return expression; })

static msghdr header(iovec* part) {
    msghdr h = {};
    h.msg_iov = part;
    h.msg_iovlen = 1;
    return h;
}
static ssize_t receives_message() {
    iovec part = {in, 16};
    msghdr h = header(&part);
    return recvmsg(fds[0], &h, 0);
}
static ssize_t receives_messages() {
    iovec part = {in, 16};
    mmsghdr h = {header(&part), 0};
    return recvmmsg(fds[0], &h, 1, MSG_WAITFORONE, nullptr) * 10 + h.msg_len;
}
static ssize_t reads_vector() {
    iovec parts[2] = {{in, 2}, {in + 2, 16}};
    return readv(fds[0], parts, 2);
}
static ssize_t polls(int kind) {
    pollfd one = {fds[0], POLLIN, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fds[0], &set);
    epoll_event event = {};
    event.events = EPOLLIN;
    const int epoll = epoll_create1(0);
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &event) == 0);
    int got = -1;
    switch (kind) {
        case 0:
            got = poll(&one, 1, 60000);
            break;
        case 1:
            got = ppoll(&one, 1, &minute, nullptr);
            break;
        case 2:
            got = select(fds[0] + 1, &set, nullptr, nullptr, nullptr);
            break;
        case 3:
            got = pselect(fds[0] + 1, &set, nullptr, nullptr, &minute, nullptr);
            break;
        case 4:
            got = epoll_wait(epoll, &event, 1, 60000);
            break;
        case 5:
            got = epoll_pwait(epoll, &event, 1, -1, nullptr);
            break;
        default:
            got = epoll_pwait2(epoll, &event, 1, &minute, nullptr);
            break;
    }
    CHECK(close(epoll) == 0);
    return got;
}
static ssize_t moves(int kind) {
    int other[2];
    CHECK(pipe(other) == 0);
    ssize_t got = -1;
    if (kind == 0) got = splice(fds[0], nullptr, other[1], nullptr, 16, 0);
    if (kind == 1) got = tee(fds[0], other[1], 16, 0);
    CHECK(close(other[0]) == 0 && close(other[1]) == 0);
    return got;
}

static void receives() {
    RECEIVING(read, true, read(fds[0], in, 16));
    RECEIVING(read, false, read(fds[0], in, 16));
    RECEIVING(readv, false, reads_vector());
    RECEIVING(recv, false, recv(fds[0], in, 16, 0));
    RECEIVING(recvfrom, false, recvfrom(fds[0], in, 16, 0, nullptr, nullptr));
    RECEIVING(recvmsg, false, receives_message());
    RECEIVING(recvmmsg, false, receives_messages());
    RECEIVING(poll, false, polls(0));
    RECEIVING(ppoll, false, polls(1));
    RECEIVING(select, false, polls(2));
    RECEIVING(pselect, false, polls(3));
    RECEIVING(epoll_wait, false, polls(4));
    RECEIVING(epoll_pwait, false, polls(5));
    RECEIVING(epoll_pwait2, false, polls(6));
    RECEIVING(splice, true, moves(0));
    RECEIVING(tee, true, moves(1));
}

static void* takes(void*) {
    nap(20);
    size_t got = 0;
    while (got < sizeof out) {
        const ssize_t n = read(fds[1], in, sizeof in);
        CHECK(n > 0);
        got += (size_t)n;
    }
    return nullptr;
}
static void sending(const char* name, bool is_pipe, ssize_t (*call)(size_t)) {
    if (is_pipe) {
        int both[2];
        CHECK(pipe(both) == 0);
        fds[0] = both[1];
        fds[1] = both[0];
    } else {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    }
    const pthread_t other = start(takes, nullptr);
    size_t sent = 0;
    while (sent < sizeof out) {
        const ssize_t n = call(sizeof out - sent);
        CHECK(n > 0);
        sent += (size_t)n;
    }
    finish(other);
    CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
    printf("%s\n", name);
}
#define SENDING(name, is_pipe, expression) \
    sending(#name, is_pipe, [](size_t left) -> ssize_t { return expression; })

static ssize_t sends_message(size_t left) {
    iovec part = {out, left};
    msghdr h = header(&part);
    return sendmsg(fds[0], &h, 0);
}
static ssize_t sends_messages(size_t left) {
    iovec part = {out, left};
    mmsghdr h = {header(&part), 0};
    CHECK_EQ(sendmmsg(fds[0], &h, 1, 0), 1);
    return h.msg_len;
}
static ssize_t writes_vector(size_t left) {
    iovec parts[2] = {{out, 1}, {out + 1, left - 1}};
    return left < 2 ? write(fds[0], out, left) : writev(fds[0], parts, 2);
}
static ssize_t maps_vector(size_t left) {
    iovec part = {out, left};
    return vmsplice(fds[0], &part, 1, 0);
}
static int file;
static void sends() {
    SENDING(write, true, write(fds[0], out, left));
    SENDING(write, false, write(fds[0], out, left));
    SENDING(writev, false, writes_vector(left));
    SENDING(send, false, send(fds[0], out, left, 0));
    SENDING(sendto, false, sendto(fds[0], out, left, 0, nullptr, 0));
    SENDING(sendmsg, false, sends_message(left));
    SENDING(sendmmsg, false, sends_messages(left));
    SENDING(vmsplice, true, maps_vector(left));
    char path[] = "/tmp/pfiber-twin-XXXXXX";
    CHECK((file = mkstemp(path)) >= 0 && unlink(path) == 0);
    CHECK(ftruncate(file, sizeof out) == 0);
    SENDING(
        sendfile, false,
        (lseek(file, (off_t)(sizeof out - left), SEEK_SET), sendfile(fds[0], file, nullptr, left)));
    CHECK(close(file) == 0);
}

static sockaddr_in address;
static void* connects(void*) {
    nap(20);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && connect(fd, (sockaddr*)&address, sizeof address) == 0);
    return (void*)(intptr_t)fd;
}
static void accepts() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    address = loopback(0);
    socklen_t size = sizeof address;
    CHECK(bind(listener, (sockaddr*)&address, size) == 0 && listen(listener, 4) == 0);
    CHECK(getsockname(listener, (sockaddr*)&address, &size) == 0);
    for (int i = 0; i < 2; i++) {
        const pthread_t other = start(connects, nullptr);
        const int fd =
            i == 0 ? accept(listener, nullptr, nullptr) : accept4(listener, nullptr, nullptr, 0);
        CHECK(fd >= 0 && close(fd) == 0 && close((int)(intptr_t)finish(other)) == 0);
        puts(i == 0 ? "accept" : "accept4");
    }
    CHECK(close(listener) == 0);
}

static void* adds(void*) {
    nap(20);
    CHECK(eventfd_write(fds[1], 3) == 0);
    return nullptr;
}
static void events() {
    fds[0] = fds[1] = eventfd(0, 0);
    pthread_t other = start(adds, nullptr);
    eventfd_t value = 0;
    CHECK(eventfd_read(fds[0], &value) == 0 && value == 3);
    finish(other);
    CHECK(close(fds[0]) == 0);
    const int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    const itimerspec soon = {{0, 0}, {0, 20000000}};
    uint64_t expired = 0;
    CHECK(timer >= 0 && timerfd_settime(timer, 0, &soon, nullptr) == 0);
    CHECK(read(timer, &expired, sizeof expired) == 8 && expired == 1 && close(timer) == 0);
    puts("events");
}

static mqd_t queue;
static void* queues_late(void*) {
    nap(20);
    CHECK(mq_send(queue, "x", 1, 0) == 0);
    return nullptr;
}
static void* takes_late(void*) {
    nap(20);
    char message[8];
    CHECK_EQ(mq_receive(queue, message, sizeof message, nullptr), 1);
    return nullptr;
}
static void queues() {
    char name[64], message[8];
    snprintf(name, sizeof name, "/pfiber-twin-%d", (int)getpid());
    mq_attr attributes = {};
    attributes.mq_maxmsg = 1;
    attributes.mq_msgsize = 8;
    queue = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attributes);
    if (queue == -1 && (errno == ENOSYS || errno == EACCES)) return;  // no message queues here
    CHECK(queue >= 0 && mq_unlink(name) == 0);
    timespec later = after_ms(CLOCK_REALTIME, 60000);
    for (int i = 0; i < 2; i++) {
        pthread_t other = start(queues_late, nullptr);
        CHECK_EQ(i == 0 ? mq_receive(queue, message, sizeof message, nullptr)
                        : mq_timedreceive(queue, message, sizeof message, nullptr, &later),
                 1);
        finish(other);
        CHECK(mq_send(queue, "x", 1, 0) == 0);  // full
        other = start(takes_late, nullptr);
        CHECK_EQ(i == 0 ? mq_send(queue, "y", 1, 0) : mq_timedsend(queue, "y", 1, 0, &later), 0);
        finish(other);
        CHECK_EQ(mq_receive(queue, message, sizeof message, nullptr), 1);
    }
    CHECK(mq_close(queue) == 0);
    CHECK_ERRNO(mq_close(queue), EBADF);
    CHECK_ERRNO(mq_send(queue, "x", 1, 0), EBADF);
}

static void* all(void*) {
    receives();
    sends();
    accepts();
    events();
    queues();
    return nullptr;
}

int main() {
    finish(start(all, nullptr));
    return 0;
}
