// Each spelling of a blocking receive waits for data and each spelling of a send delivers it, on
// TCP, AF_UNIX and pipes.
// expect: fibers>=20 native_fallbacks=0 locked=0
#include "../../support/twin.h"

struct Receive {
    const char* name;
    bool sockets_only;
    ssize_t (*call)(int fd, void* p, size_t n);
};
static const Receive receives[] = {
    {"read", false, [](int fd, void* p, size_t n) { return read(fd, p, n); }},
    {"readv", false,
     [](int fd, void* p, size_t n) {
         iovec v[2] = {{p, 2}, {(char*)p + 2, n - 2}};
         return readv(fd, v, 2);
     }},
    {"preadv2", false,
     [](int fd, void* p, size_t n) {
         iovec v = {p, n};
         return preadv2(fd, &v, 1, -1, 0);
     }},
    {"preadv64v2", false,
     [](int fd, void* p, size_t n) {
         iovec v = {p, n};
         return preadv64v2(fd, &v, 1, -1, 0);
     }},
    {"recv", true, [](int fd, void* p, size_t n) { return recv(fd, p, n, 0); }},
    {"recvfrom", true,
     [](int fd, void* p, size_t n) {
         sockaddr_storage a;
         socklen_t size = sizeof a;
         return recvfrom(fd, p, n, 0, (sockaddr*)&a, &size);
     }},
    {"recvmsg", true,
     [](int fd, void* p, size_t n) {
         iovec v[2] = {{p, 1}, {(char*)p + 1, n - 1}};
         msghdr m = {};
         m.msg_iov = v;
         m.msg_iovlen = 2;
         return recvmsg(fd, &m, 0);
     }},
    {"recvmmsg", true,
     [](int fd, void* p, size_t n) {
         iovec v = {p, n};
         mmsghdr m = {};
         m.msg_hdr.msg_iov = &v;
         m.msg_hdr.msg_iovlen = 1;
         int got = recvmmsg(fd, &m, 1, MSG_WAITFORONE, nullptr);
         return got == 1 ? (ssize_t)m.msg_len : (ssize_t)-1;
     }},
};

struct Send {
    const char* name;
    bool sockets_only;
    ssize_t (*call)(int fd, const void* p, size_t n);
};
static const Send sends[] = {
    {"write", false, [](int fd, const void* p, size_t n) { return write(fd, p, n); }},
    {"writev", false,
     [](int fd, const void* p, size_t n) {
         iovec v[2] = {{(void*)p, 3}, {(char*)p + 3, n - 3}};
         return writev(fd, v, 2);
     }},
    {"pwritev2", false,
     [](int fd, const void* p, size_t n) {
         iovec v = {(void*)p, n};
         return pwritev2(fd, &v, 1, -1, 0);
     }},
    {"send", true, [](int fd, const void* p, size_t n) { return send(fd, p, n, 0); }},
    {"sendto", true,
     [](int fd, const void* p, size_t n) { return sendto(fd, p, n, 0, nullptr, 0); }},
    {"sendmsg", true,
     [](int fd, const void* p, size_t n) {
         iovec v = {(void*)p, n};
         msghdr m = {};
         m.msg_iov = &v;
         m.msg_iovlen = 1;
         return sendmsg(fd, &m, MSG_NOSIGNAL);
     }},
    {"sendmmsg", true,
     [](int fd, const void* p, size_t n) {
         iovec v[2] = {{(void*)p, 4}, {(char*)p + 4, n - 4}};
         mmsghdr m[2] = {};
         for (int i = 0; i < 2; i++) m[i].msg_hdr.msg_iov = &v[i], m[i].msg_hdr.msg_iovlen = 1;
         int sent = sendmmsg(fd, m, 2, 0);
         return sent == 2 ? (ssize_t)(m[0].msg_len + m[1].msg_len) : (ssize_t)-1;
     }},
};

struct Job {
    int fd;
    const Receive* r;
    sem_t ready;
    char buffer[64];
    ssize_t got;
};

static void* receiver(void* arg) {
    Job* j = (Job*)arg;
    sem_post(&j->ready);
    j->got = j->r->call(j->fd, j->buffer, 11);
    return nullptr;
}

int main() {
    const char text[] = "hello, twin";
    const char* kinds[] = {"tcp", "unix", "pipe"};
    int received = 0, sent = 0;
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        if (kind == 0) tcp_pair(fds);
        if (kind == 1) unix_pair(fds);
        if (kind == 2) CHECK(pipe(fds) == 0);
        for (const Receive& r : receives) {
            if (r.sockets_only && kind == 2) continue;
            Job j = {};
            j.fd = fds[0];
            j.r = &r;
            CHECK(sem_init(&j.ready, 0, 0) == 0);
            pthread_t t = start(receiver, &j);
            wait_sem(&j.ready);
            nap(5);
            put(fds[1], text, 11);
            finish(t);
            CHECK(j.got == 11 && memcmp(j.buffer, text, 11) == 0);
            printf("%s %s %zd\n", kinds[kind], r.name, j.got);
            received++;
        }
        for (const Send& s : sends) {
            if (s.sockets_only && kind == 2) continue;
            CHECK(s.call(fds[1], text, 11) == 11);
            char back[11];
            CHECK(take(fds[0], back, 11) == 11 && memcmp(back, text, 11) == 0);
            printf("%s %s\n", kinds[kind], s.name);
            sent++;
        }
        close(fds[0]);
        close(fds[1]);
    }
    printf("%d receives, %d sends\n", received, sent);
    return 0;
}
