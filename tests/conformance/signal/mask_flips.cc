// A signal that every thread blocks at times, as around pthread_create, and whose default action
// ends the process: sent while it is blocked it stays pending until sigwaitinfo takes it, whatever
// the other threads did while it was open.
// expect: fibers>=4 parks_io>=1 native_fallbacks=0
#include "../../support/twin.h"

static const int kThreads = 4, kRounds = 2000;

// They run in between, so that kernel threads sleep and wake with either mask.
static void* echo(void* arg) {
    const int fd = *(const int*)arg;
    char byte;
    while (read(fd, &byte, 1) == 1) CHECK(write(fd, &byte, 1) == 1);
    return nullptr;
}

static void round_trip(int fd) {
    char byte = 'x';
    CHECK(write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1);
}

int main() {
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 3);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, &old) == 0);
    pthread_t t[kThreads];
    int pair[kThreads][2];
    for (int i = 0; i < kThreads; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair[i]) == 0);
        t[i] = start(echo, &pair[i][1]);
    }
    int taken = 0;
    for (int i = 0; i < kRounds; i++) {
        const int signal = i % 3 == 0 ? SIGRTMIN + 3 : SIGUSR1;
        CHECK(pthread_sigmask(SIG_SETMASK, &old, nullptr) == 0);
        const char byte = 'x';
        for (int k = 0; k < kThreads; k++)
            if ((i + k) % 3 != 0) CHECK(write(pair[k][0], &byte, 1) == 1);
        if (i % 2 != 0) round_trip(pair[i % kThreads][0]);
        CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
        CHECK(kill(getpid(), signal) == 0);
        siginfo_t info;
        taken += sigwaitinfo(&set, &info) == signal && info.si_pid == getpid();
        char drained[8];
        for (int k = 0; k < kThreads; k++)
            if ((i + k) % 3 != 0) CHECK(read(pair[k][0], drained, 1) == 1);
    }
    for (int i = 0; i < kThreads; i++) {
        CHECK(shutdown(pair[i][0], SHUT_WR) == 0);
        finish(t[i]);
    }
    printf("%d of %d taken\n", taken, kRounds);
    return 0;
}
