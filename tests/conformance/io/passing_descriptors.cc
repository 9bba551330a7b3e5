// SCM_RIGHTS: descriptors sent over an AF_UNIX stream while threads wait on both ends; the
// received ones block and work, a receive never runs over the message that carries one,
// SCM_CREDENTIALS name this process.
// expect: fibers>=20 native_fallbacks=0
#include "../../support/send_descriptor.h"
#include "../../support/twin.h"

static ssize_t last_length;

static int receive_fd(int over, char* tag, size_t size = 1) {
    iovec v = {tag, size};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr m = {};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    last_length = recvmsg(over, &m, MSG_CMSG_CLOEXEC);
    CHECK(last_length > 0);
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    CHECK(c && c->cmsg_type == SCM_RIGHTS && (m.msg_flags & MSG_CTRUNC) == 0);
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    return fd;
}

static int channel[2];
static pthread_t servers[20];

static void* acceptor(void*) {
    for (int i = 0; i < 20; i++) {
        char tag;
        int fd = receive_fd(channel[0], &tag);
        CHECK(tag == 'a' + i);
        servers[i] = start(twin_ponger, (void*)(intptr_t)fd);
    }
    return nullptr;
}

int main() {
    unix_pair(channel);
    pthread_t t = start(acceptor, nullptr);
    int good = 0, ends[20];
    for (int i = 0; i < 20; i++) {
        int fds[2];
        unix_pair(fds);
        ends[i] = fds[0];
        CHECK(send_descriptor(channel[1], fds[1], (char)('a' + i)));
        close(fds[1]);
    }
    finish(t);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 20; i++) {
            unsigned char c = (unsigned char)i;
            put(ends[i], &c, 1);
            good += take(ends[i], &c, 1) == 1 && c == i + 1;
        }
    }
    for (int i = 0; i < 20; i++) {
        close(ends[i]);
        finish(servers[i]);
    }
    // Data before, with and after a descriptor: a receive ends with the message that carries it,
    // although more is queued.
    put(channel[1], "before", 6);
    CHECK(send_descriptor(channel[1], 0, '*'));
    put(channel[1], "after", 5);
    char b[32];
    close(receive_fd(channel[0], b, sizeof b));
    CHECK(last_length == 7 && memcmp(b, "before*", 7) == 0);
    CHECK(read(channel[0], b, sizeof b) == 5 && memcmp(b, "after", 5) == 0);
    int on = 1;
    CHECK(setsockopt(channel[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    put(channel[1], "c", 1);
    iovec v = {b, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
    msghdr m = {};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    CHECK(recvmsg(channel[0], &m, 0) == 1);
    ucred cred;
    memcpy(&cred, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof cred);
    CHECK(cred.pid == getpid() && cred.uid == getuid());
    printf("%d replies over passed descriptors\n", good);
    return good != 100;
}
