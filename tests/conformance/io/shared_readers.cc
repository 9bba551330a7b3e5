// Several threads wait on one descriptor: each datagram, message, byte and connection goes to
// exactly one of them, none is lost and none of them waits for ever.
// expect: fibers>=32 native_fallbacks=0 locked=0
#include "../../support/twin.h"
#include <atomic>

static const int threads = 8, items = 400;
static std::atomic<int> delivered[items], total, stopped;
static int shared;

static void count(int number) {
    if (number < 0) return;
    CHECK(number < items);
    delivered[number]++;
    total++;
}

static void* datagrams(void*) {
    int32_t v[4];
    while (true) {
        ssize_t n = recv(shared, v, sizeof v, 0);
        CHECK(n == 4);
        if (v[0] == -1) break;
        count(v[0]);
    }
    stopped++;
    return nullptr;
}
static void* pipe_words(void*) {
    int32_t v;
    while (true) {
        ssize_t n =
            read(shared, &v, 4);  // Pipe writes of 4 bytes are atomic, so reads stay aligned.
        CHECK(n == 4);
        if (v == -1) break;
        count(v);
    }
    stopped++;
    return nullptr;
}
static void* connections(void*) {
    while (true) {
        int c = accept(shared, nullptr, nullptr);
        CHECK(c >= 0);
        int32_t v;
        CHECK(take(c, &v, 4) == 4);
        put(c, &v, 4);
        close(c);
        if (v == -1) break;
        count(v);
    }
    stopped++;
    return nullptr;
}

static void run(const char* name, void* (*body)(void*), void (*send_one)(int32_t)) {
    for (auto& d : delivered) d = 0;
    total = stopped = 0;
    pthread_t t[threads];
    for (auto& one : t) one = start(body, nullptr);
    nap(20);
    for (int i = 0; i < items; i++) {
        send_one(i);
        if (i % 50 == 49) nap(1);
    }
    for (int i = 0; i < threads; i++) send_one(-1);
    for (auto& one : t) finish(one);
    for (auto& d : delivered) CHECK(d == 1);
    CHECK(stopped == threads);
    printf("%s: %d delivered once each, %d threads stopped\n", name, (int)total, (int)stopped);
}

static int far, port;
int main() {
    shared = socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in a = loopback(0);
    CHECK(bind(shared, (sockaddr*)&a, sizeof a) == 0);
    a = loopback(port_of(shared));
    far = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(connect(far, (sockaddr*)&a, sizeof a) == 0);
    int big = 1 << 20;
    setsockopt(shared, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
    auto send_word = [](int32_t v) { CHECK(send(far, &v, 4, 0) == 4); };
    run("udp", datagrams, send_word);
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0);
    shared = fds[0];
    far = fds[1];
    run("seqpacket", datagrams, send_word);
    CHECK(pipe(fds) == 0);
    shared = fds[0];
    far = fds[1];
    run("pipe", pipe_words, [](int32_t v) { put(far, &v, 4); });
    shared = tcp_listen(64);
    port = port_of(shared);
    run("listener", connections, [](int32_t v) {
        int c = tcp_connect(port);
        put(c, &v, 4);
        int32_t back;
        CHECK(take(c, &back, 4) == 4 && back == v);
        close(c);
    });
    return 0;
}
