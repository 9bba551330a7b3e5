// shutdown() from another thread ends waiting calls: readers get 0, a blocked writer EPIPE, an
// accept EINVAL, a poll POLLHUP; data that was queued before it is still delivered.
// expect: fibers>=6 native_fallbacks=0 locked=0
#include "../../support/twin.h"

static int fds[2], listener;
static sem_t ready;

static void* reader(void*) {
    char b[8];
    sem_post(&ready);
    CHECK(recv(fds[0], b, 8, 0) == 0);
    return nullptr;
}
static void* peer_reader(void*) {
    char b[8];
    sem_post(&ready);
    CHECK(read(fds[1], b, 8) == 4 && memcmp(b, "last", 4) == 0);
    CHECK(read(fds[1], b, 8) == 0);
    return nullptr;
}
static void* writer(void*) {
    static char data[16 << 20];
    sem_post(&ready);
    size_t sent = 0;
    ssize_t n;
    while ((n = send(fds[0], data, sizeof data, MSG_NOSIGNAL)) > 0) sent += (size_t)n;
    CHECK(n == -1 && errno == EPIPE);
    return nullptr;
}
static void* acceptor(void*) {
    sem_post(&ready);
    CHECK(accept(listener, nullptr, nullptr) == -1 && errno == EINVAL);
    return nullptr;
}
static void* poller(void*) {
    pollfd p = {fds[0], POLLIN, 0};
    sem_post(&ready);
    CHECK(poll(&p, 1, 10000) == 1 && (p.revents & POLLHUP));
    return nullptr;
}

static void run(void* (*body)(void*), void (*then)()) {
    pthread_t t = start(body, nullptr);
    wait_sem(&ready);
    nap(30);
    then();
    finish(t);
}

int main() {
    CHECK(sem_init(&ready, 0, 0) == 0);
    listener = tcp_listen(1);
    int woken = 0;
    for (int kind = 0; kind < 2; kind++) {
        auto open_pair = [kind] { kind ? unix_pair(fds) : tcp_pair(fds); };
        open_pair();
        run(reader, [] { CHECK(shutdown(fds[0], SHUT_RD) == 0); });
        woken++;
        open_pair();
        run(peer_reader, [] {
            put(fds[0], "last", 4);
            CHECK(shutdown(fds[0], SHUT_WR) == 0);
        });
        woken++;
        open_pair();
        run(writer, [] { CHECK(shutdown(fds[0], SHUT_RDWR) == 0); });
        woken++;
        open_pair();
        run(poller, [] { CHECK(shutdown(fds[0], SHUT_RDWR) == 0); });
        woken++;
    }
    run(acceptor, [] { CHECK(shutdown(listener, SHUT_RDWR) == 0); });
    woken++;
    printf("%d calls ended by shutdown\n", woken);
    return 0;
}
