// exit, _exit, quick_exit and abort while other threads create threads, print, block, sleep,
// compute and run commands: the status is the one asked for, forty times.
// limit: 60
// expect: no-stats
#include "../../support/twin.h"
#include <thread>

static void* churn(void*) {
    for (;;) {
        pthread_t t;
        if (pthread_create(
                &t, nullptr,
                [](void* a) -> void* {
                    free(malloc(100));
                    return a;
                },
                nullptr) == 0)
            pthread_join(t, nullptr);
    }
    return nullptr;
}
static void* prints(void*) {
    for (;;) {
        FILE* f = fopen("/dev/null", "w");
        fprintf(f, "x");
        fclose(f);
    }
    return nullptr;
}
static void* blocks(void*) {
    int f[2];
    if (pipe(f)) abort();
    char c;
    (void)!read(f[0], &c, 1);
    return nullptr;
}
static void* sleeps(void*) {
    for (;;) nap(1);
    return nullptr;
}
static void* spins(void*) {
    volatile long n = 0;
    for (;;) n = n + 1;
    return nullptr;
}
static void* execs(void*) {
    for (;;) {
        if (system("true")) {
        }
    }
    return nullptr;
}
int main() {
    int bad = 0;
    for (int i = 0; i < 40; i++) {
        pid_t p = fork();
        if (p == 0) {
            void* (*b[])(void*) = {churn, prints, blocks, sleeps, spins, execs};
            for (int k = 0; k < 12; k++) start(b[(k + i) % (i % 2 ? 6 : 4)], nullptr);
            nap(i % 7);
            switch (i % 5) {
                case 0:
                    exit(3);
                case 1:
                    _exit(3);
                case 2:
                    start([](void*) -> void* { exit(3); }, nullptr);
                    for (;;) pause();
                case 3:
                    quick_exit(3);
                case 4:
                    abort();
            }
        }
        int st = reap(p);
        bool ok = i % 5 == 4 ? (WIFSIGNALED(st) && WTERMSIG(st) == SIGABRT) : exited_with(st, 3);
        if (!ok) {
            printf("round %d status %#x\n", i, st);
        }
        bad += !ok;
    }
    printf("bad %d\n", bad);
    return 0;
}
