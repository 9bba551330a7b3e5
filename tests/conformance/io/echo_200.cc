// A thread-per-connection echo server with 200 connections and its 200 client threads in one
// process; every byte is verified.
// limit: 20
// expect: fibers>=401 native_fallbacks=0 locked=0
#include "../../support/twin.h"
#include <atomic>

static const int connections = 200, rounds = 20, size = 512;
static int listener;
static std::atomic<long> echoed, verified;

static void* serve(void* arg) {
    int fd = (int)(intptr_t)arg;
    char b[4096];
    while (true) {
        ssize_t n = recv(fd, b, sizeof b, 0);
        CHECK(n >= 0);
        if (n == 0) break;
        for (ssize_t sent = 0; sent < n;) {
            ssize_t m = send(fd, b + sent, (size_t)(n - sent), MSG_NOSIGNAL);
            CHECK(m > 0);
            sent += m;
        }
        echoed += n;
    }
    CHECK(close(fd) == 0);
    return nullptr;
}

static void* accept_all(void*) {
    pthread_t t[connections];
    for (auto& one : t) {
        int fd = accept(listener, nullptr, nullptr);
        CHECK(fd >= 0);
        one = start(serve, (void*)(intptr_t)fd);
    }
    for (auto& one : t) finish(one);
    return nullptr;
}

static void* client(void* arg) {
    int id = (int)(intptr_t)arg;
    int fd = tcp_connect(port_of(listener));
    unsigned char out[size], in[size];
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < size; i++) out[i] = (unsigned char)(id * 7 + r * 13 + i);
        put(fd, out, size);
        CHECK(take(fd, in, size) == size && memcmp(in, out, size) == 0);
        verified += size;
    }
    CHECK(close(fd) == 0);
    return nullptr;
}

int main() {
    listener = tcp_listen(256);
    pthread_t server = start(accept_all, nullptr), t[connections];
    for (int i = 0; i < connections; i++) t[i] = start(client, (void*)(intptr_t)i);
    for (auto& one : t) finish(one);
    finish(server);
    printf("%ld bytes echoed, %ld verified\n", (long)echoed, (long)verified);
    return echoed != verified || verified != (long)connections * rounds * size;
}
