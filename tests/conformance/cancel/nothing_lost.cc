// Cancellation races with completion: a byte, a semaphore unit, a connection or a datagram either reaches the thread or
// stays for the next one; over many rounds nothing is lost and nothing comes twice.
// expect: fibers>=600 native_fallbacks=0
// limit: 30
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
static void *reads(void *) {
    char c;
    if (read(fds[0], &c, 1) == 1) disabled_count();
    return nullptr;
}
static void *receives(void *) {
    char c;
    if (recv(fds[0], &c, 1, 0) == 1) disabled_count();
    return nullptr;
}
static void *takes(void *) {
    if (sem_wait(&units) == 0) disabled_count();
    return nullptr;
}

static void run(const char *name, void *(*body)(void *), void (*give)(), int (*left)()) {
    got = 0;
    int given = 0, cancelled = 0, returned = 0;
    for (int i = 0; i < 200; i++) {
        pthread_t t = start(body, nullptr);
        if (i % 4 == 0) nap(1);
        if (i % 2) {
            give();
            pthread_cancel(t);
        } else {
            pthread_cancel(t);
            give();
        }
        given++;
        void *result = finish(t);
        cancelled += result == PTHREAD_CANCELED;
        returned += result == nullptr;
    }
    int rest = left();
    CHECK(cancelled + returned == 200 && got == returned);
    CHECK(got + rest == given);
    printf("%s: nothing lost in 200 rounds\n", name);
}

int main() {
    CHECK(sem_init(&units, 0, 0) == 0);
    auto give = [] { put(fds[1], "x", 1); };
    auto left = [] {
        char c[256];
        ssize_t n = 0;
        int sum = 0;
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        while ((n = read(fds[0], c, sizeof c)) > 0) sum += (int)n;
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
    run("sem_wait", takes, [] { sem_post(&units); }, [] {
        int n = 0;
        while (sem_trywait(&units) == 0) n++;
        return n;
    });
    return 0;
}
