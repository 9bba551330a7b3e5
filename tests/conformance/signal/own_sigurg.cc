// A program that owns SIGURG gets every one: sent by kill, by pthread_kill and by urgent TCP data
// (F_SETOWN), and none that nobody sent, while threads compete for the processors.
// expect: fibers>=4 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static std::atomic<int> handled;
static std::atomic<bool> stop;
static std::atomic<long> spins;
static sem_t done;
static void handler(int sig) {
    CHECK(sig == SIGURG);
    handled++;
    sem_post(&done);
}
static void* busy(void*) {
    volatile unsigned long spin = 0;
    while (!stop) spin = spin + 1;
    spins += spin > 0;
    return nullptr;
}

int main() {
    CHECK(sem_init(&done, 0, 0) == 0);
    pthread_t t[4];
    for (int i = 0; i < 2; i++) t[i] = start(busy, nullptr);
    // Default disposition: ignored, and nothing is interrupted by it.
    for (int i = 0; i < 10; i++) CHECK(kill(getpid(), SIGURG) == 0);
    struct sigaction a = {}, now;
    CHECK(sigaction(SIGURG, nullptr, &now) == 0 && now.sa_handler == SIG_DFL && now.sa_flags == 0);
    a.sa_handler = handler;
    a.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGURG, &a, &now) == 0 && now.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGURG, nullptr, &now) == 0 && now.sa_handler == handler);
    for (int i = 2; i < 4; i++) t[i] = start(busy, nullptr);
    nap(200);
    CHECK(handled == 0);
    for (int i = 0; i < 20; i++) {
        CHECK(kill(getpid(), SIGURG) == 0);
        wait_sem(&done);
    }
    for (int i = 0; i < 20; i++) {
        CHECK(pthread_kill(t[i % 4], SIGURG) == 0);
        wait_sem(&done);
    }
    CHECK(handled == 40);
    int fds[2];
    tcp_pair(fds);
    CHECK(fcntl(fds[0], F_SETOWN, getpid()) == 0);
    CHECK(send(fds[1], "!", 1, MSG_OOB) == 1);
    wait_sem(&done);
    char c;
    CHECK(recv(fds[0], &c, 1, MSG_OOB) == 1 && c == '!');
    nap(100);
    stop = true;
    for (pthread_t one : t) finish(one);
    CHECK(handled == 41 && spins == 4);
    printf("%d handled\n", (int)handled);
    return 0;
}
