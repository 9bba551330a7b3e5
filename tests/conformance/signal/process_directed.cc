// A signal sent to the process runs in a thread that does not block it, whoever that is, once;
// when all block it, it stays pending until one does not; ignored ones vanish.
// expect: fibers>=6 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static __thread bool willing;
static std::atomic<int> handled, unwilling;
static std::atomic<bool> stop;
static sem_t ready, done;

static void handler(int) {
    handled++;
    if (!willing) unwilling++;
    sem_post(&done);
}
static void mask(int how) {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    CHECK(pthread_sigmask(how, &s, nullptr) == 0);
}
static void* busy(void* arg) {
    if (arg) willing = true, mask(SIG_UNBLOCK);
    sem_post(&ready);
    volatile unsigned long spin = 0;
    while (!stop) spin = spin + 1;
    if (arg) mask(SIG_BLOCK);
    return nullptr;
}
static void* blocked(void* arg) {
    if (arg) willing = true, mask(SIG_UNBLOCK);
    sem_post(&ready);
    while (!stop) nap(1);
    if (arg) mask(SIG_BLOCK);
    return nullptr;
}

static void run(const char* name, void* (*body)(void*), int willing_one) {
    stop = false;
    pthread_t t[3];
    for (int i = 0; i < 3; i++) t[i] = start(body, (void*)(intptr_t)(i == willing_one));
    for (int i = 0; i < 3; i++) wait_sem(&ready);
    for (int i = 0; i < 20; i++) {
        CHECK(kill(getpid(), SIGUSR1) == 0);
        wait_sem(&done);
    }
    stop = true;
    for (pthread_t one : t) finish(one);
    CHECK(unwilling == 0);
    printf("%s: %d\n", name, (int)handled);
}

int main() {
    CHECK(sem_init(&ready, 0, 0) == 0 && sem_init(&done, 0, 0) == 0);
    struct sigaction a = {};
    a.sa_handler = handler;
    a.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
    mask(SIG_BLOCK);
    run("busy", busy, 1);
    run("blocked", blocked, 2);
    // Nobody wants it: it waits, as one, for the first who does.
    for (int i = 0; i < 3; i++) CHECK(kill(getpid(), SIGUSR1) == 0);
    sigset_t s;
    CHECK(sigpending(&s) == 0 && sigismember(&s, SIGUSR1));
    CHECK(handled == 40);
    pthread_t t = start(
        [](void*) -> void* {
            sigset_t p;
            CHECK(sigpending(&p) == 0 && sigismember(&p, SIGUSR1));  // pending for the process
            willing = true;
            mask(SIG_UNBLOCK);
            CHECK(handled == 41);
            return nullptr;
        },
        nullptr);
    finish(t);
    CHECK(sigpending(&s) == 0 && !sigismember(&s, SIGUSR1));
    // A willing main thread, waiting in join.
    willing = true;
    mask(SIG_UNBLOCK);
    t = start(
        [](void*) -> void* {
            mask(SIG_BLOCK);
            CHECK(kill(getpid(), SIGUSR1) == 0);
            while (handled < 42) nap(1);
            return nullptr;
        },
        nullptr);
    finish(t);
    signal(SIGUSR1, SIG_IGN);
    mask(SIG_BLOCK);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    mask(SIG_UNBLOCK);
    CHECK(handled == 42 && unwilling == 0);
    printf("%d handled\n", (int)handled);
    return 0;
}
