// Cancellation and completion: a byte, a semaphore unit or a datagram that comes after a thread
// was cancelled stays for the next one, what came before reached the thread.  When both come at
// once, nothing comes twice; glibc up to 2.40 may lose it (its cancellation signal can arrive
// between the system call's end and the return).
// limit: 30
// expect: fibers>=800 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static int fds[2];
static sem_t units;
static std::atomic<int> got;

// The counting follows the call with cancellation off, so that only the call itself decides.
static void disabled_count() {
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
    got++;
}
static void* reads(void*) {
    char c;
    if (read(fds[0], &c, 1) == 1) disabled_count();
    return nullptr;
}
static void* receives(void*) {
    char c;
    if (recv(fds[0], &c, 1, 0) == 1) disabled_count();
    return nullptr;
}
static void* takes(void*) {
    if (sem_wait(&units) == 0) disabled_count();
    return nullptr;
}

static void run(const char* name, void* (*body)(void*), void (*give)(), int (*left)()) {
    int stayed = 0, reached = 0;
    for (int i = 0; i < 50; i++) {
        got = 0;
        pthread_t t = start(body, nullptr);
        if (i % 4 == 0) nap(1);
        CHECK(pthread_cancel(t) == 0);
        CHECK(finish(t) == PTHREAD_CANCELED);
        give();
        stayed += left() == 1 && got == 0;
        t = start(body, nullptr);
        give();
        while (got == 0) nap(0);
        CHECK(pthread_cancel(t) == 0);
        reached += finish(t) == nullptr && left() == 0 && got == 1;
    }
    got = 0;
    int cancelled = 0, returned = 0;
    for (int i = 0; i < 100; i++) {
        pthread_t t = start(body, nullptr);
        if (i % 4 == 0) nap(1);
        if (i % 2) {
            give();
            pthread_cancel(t);
        } else {
            pthread_cancel(t);
            give();
        }
        void* result = finish(t);
        cancelled += result == PTHREAD_CANCELED;
        returned += result == nullptr;
    }
    CHECK(cancelled + returned == 100 && got == returned);
    CHECK(got + left() <= 100);
    printf("%s: %d stayed, %d reached\n", name, stayed, reached);
    CHECK(stayed == 50 && reached == 50);
}

int main() {
    CHECK(sem_init(&units, 0, 0) == 0);
    auto give = [] { put(fds[1], "x", 1); };
    auto left = [] {
        char c[256];
        ssize_t n = 0;
        int sum = 0;
        pollfd p = {fds[0], POLLIN, 0};
        while (poll(&p, 1, 0) == 1 && (n = read(fds[0], c, sizeof c)) > 0) sum += (int)n;
        return sum;
    };
    CHECK(pipe(fds) == 0);
    run("pipe read", reads, give, left);
    tcp_pair(fds);
    run("tcp recv", receives, give, left);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    run("datagram", receives, give, [] {
        char c;
        int sum = 0;
        while (recv(fds[0], &c, 1, MSG_DONTWAIT) == 1) sum++;
        return sum;
    });
    run(
        "sem_wait", takes, [] { sem_post(&units); },
        [] {
            int n = 0;
            while (sem_trywait(&units) == 0) n++;
            return n;
        });
    return 0;
}
