// A write of 4 MiB on a blocking socket or pipe returns only when all of it is taken, while a slow
// reader drains it; every byte arrives once and in order.
// expect: fibers>=5 native_fallbacks=0 locked=0
#include "../../support/twin.h"
#include <vector>

static const size_t total = 4 << 20;
static unsigned char byte_at(size_t i) { return (unsigned char)(i * 31 + (i >> 12)); }

struct Drain {
    int fd;
    size_t good = 0, seen = 0;
};

static void* drain(void* arg) {
    Drain* d = (Drain*)arg;
    std::vector<unsigned char> chunk(64 << 10);
    nap(50);
    while (true) {
        ssize_t n = read(d->fd, chunk.data(), chunk.size());
        CHECK(n >= 0);
        if (n == 0) break;
        for (ssize_t i = 0; i < n; i++) d->good += chunk[i] == byte_at(d->seen++);
        if (d->seen % (1 << 20) < 4096) nap(5);
    }
    return nullptr;
}

int main() {
    std::vector<unsigned char> data(total);
    for (size_t i = 0; i < total; i++) data[i] = byte_at(i);
    const char* names[] = {"tcp write", "unix write", "pipe write", "tcp send", "unix writev"};
    for (int kind = 0; kind < 5; kind++) {
        int fds[2];
        if (kind == 0 || kind == 3) tcp_pair(fds);
        if (kind == 1 || kind == 4) unix_pair(fds);
        if (kind == 2) CHECK(pipe(fds) == 0);
        Drain d;
        d.fd = fds[0];
        pthread_t t = start(drain, &d);
        ssize_t n;
        if (kind == 3) {
            n = send(fds[1], data.data(), total, MSG_NOSIGNAL);
        } else if (kind == 4) {
            iovec v[3] = {{data.data(), 1000000},
                          {data.data() + 1000000, 1},
                          {data.data() + 1000001, total - 1000001}};
            n = writev(fds[1], v, 3);
        } else {
            n = write(fds[1], data.data(), total);
        }
        CHECK(n == (ssize_t)total);
        close(fds[1]);
        finish(t);
        CHECK(d.seen == total && d.good == total);
        printf("%s: %zd written, %zu right\n", names[kind], n, d.good);
        close(fds[0]);
    }
    return 0;
}
