// A process-directed signal that was meant for a thread which ends, or blocks it, before the
// handler ran, is not lost: another willing thread handles it, else it stays pending on the
// process, where sigpending, sigwait and signalfd find it.
//
// limit: 40
// expect: fibers>=20 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>
#include <sys/signalfd.h>

static std::atomic<int> handled;
static sem_t ready, go;

static void handler(int) { handled++; }
static void mask(int how) {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    CHECK(pthread_sigmask(how, &s, nullptr) == 0);
}

// Willing for a moment only, again and again.
static void* blinks(void*) {
    for (int i = 0; i < 200; i++) {
        mask(SIG_UNBLOCK);
        if (i % 8 == 0) sched_yield();
        mask(SIG_BLOCK);
        if (i % 16 == 0) sched_yield();
    }
    return nullptr;
}
// Willing until its end.
static void* ends(void*) {
    mask(SIG_UNBLOCK);
    sched_yield();
    return nullptr;
}
static void* sends(void*) {
    for (int i = 0; i < 30; i++) {
        const int before = handled;
        CHECK(kill(getpid(), SIGUSR1) == 0);
        // Taken by a thread that is willing for a moment, or pending until the last one comes.
        (void)before;
        sched_yield();
    }
    return nullptr;
}

static bool pending() {
    sigset_t s;
    CHECK(sigpending(&s) == 0);
    return sigismember(&s, SIGUSR1);
}

// Every signal is handled or is still pending when all threads but main are gone.
static void round(void* (*body)(void*)) {
    pthread_t t[6];
    const int before = handled;
    for (int i = 0; i < 6; i++) t[i] = start(i % 3 == 2 ? sends : body, nullptr);
    for (pthread_t one : t) finish(one);
    const bool left = pending();
    CHECK(handled > before || left);
    const int middle = handled;
    mask(SIG_UNBLOCK);
    CHECK(handled == middle + (left ? 1 : 0));
    mask(SIG_BLOCK);
    CHECK(!pending());
}

// A willing thread that never gets to run its handler: it blocks the signal in between.
static void* opens_once(void*) {
    mask(SIG_UNBLOCK);
    sem_post(&ready);
    wait_sem(&go);
    mask(SIG_BLOCK);
    return nullptr;
}

int main() {
    CHECK(sem_init(&ready, 0, 0) == 0 && sem_init(&go, 0, 0) == 0);
    struct sigaction a = {};
    a.sa_handler = handler;
    a.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
    mask(SIG_BLOCK);
    for (int i = 0; i < 60; i++) round(i % 2 ? blinks : ends);
    puts("nothing lost");

    // Whoever waits for it finds what the others left, by each of three ways.
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    const int fd = signalfd(-1, &s, SFD_CLOEXEC);
    CHECK(fd >= 0);
    int taken = 0;
    for (int i = 0; i < 90; i++) {
        const int before = handled;
        pthread_t t = start(opens_once, nullptr);
        wait_sem(&ready);
        CHECK(kill(getpid(), SIGUSR1) == 0);
        sem_post(&go);
        finish(t);
        if (handled != before) {
            CHECK(handled == before + 1 && !pending());
            taken++;
            continue;
        }
        CHECK(pending());
        if (i % 3 == 0) {
            int got = 0;
            CHECK(sigwait(&s, &got) == 0 && got == SIGUSR1);
        } else if (i % 3 == 1) {
            signalfd_siginfo info;
            CHECK(take(fd, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR1);
        } else {
            siginfo_t info;
            const timespec now = {};
            CHECK(sigtimedwait(&s, &info, &now) == SIGUSR1 && info.si_code == SI_USER);
        }
        CHECK(!pending());
        taken++;
    }
    printf("%d taken\n", taken);
    return 0;
}
