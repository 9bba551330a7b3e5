// vfork suspends the calling thread alone: the others run on while the child holds it, and memory
// that the child changed is seen; many threads may do it at once.
// limit: 20
// expect: fibers>=9 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static std::atomic<long> ticks;
static std::atomic<bool> stop;
static std::atomic<int> ran;

static void* ticker(void*) {
    while (!stop) {
        CHECK(pingpong(1, 4) == 4);
        ticks++;
    }
    return nullptr;
}
static void* forks(void*) {
    for (volatile int i = 0; i < 10; i = i + 1) {
        volatile int changed = 0;
        char code[8];
        snprintf(code, sizeof code, "exit %d", i);
        pid_t p = vfork();
        CHECK(p >= 0);
        if (p == 0) {
            changed = 1;
            execl("/bin/sh", "sh", "-c", code, nullptr);
            _exit(126);
        }
        CHECK(changed == 1);
        CHECK(exited_with(reap(p), i));
        p = vfork();
        CHECK(p >= 0);
        if (p == 0) {
            execl("/nonexistent", "none", nullptr);
            changed = errno;
            _exit(17);
        }
        CHECK(changed == ENOENT && exited_with(reap(p), 17));
        ran += 2;
    }
    return nullptr;
}
// A child that stays: its parent thread waits, everybody else works.
static void* held(void*) {
    pid_t p = vfork();
    CHECK(p >= 0);
    if (p == 0) {
        struct timespec t = {0, 150000000};
        nanosleep(&t, nullptr);
        _exit(5);
    }
    CHECK(exited_with(reap(p), 5));
    return nullptr;
}

int main() {
    pthread_t busy = start(ticker, nullptr), t[6];
    long before = ticks;
    pthread_t h = start(held, nullptr);
    while (ticks < before + 10) nap(1);
    finish(h);
    for (auto& one : t) one = start(forks, nullptr);
    for (auto& one : t) finish(one);
    stop = true;
    finish(busy);
    printf("%d children\n", (int)ran);
    return ran != 120;
}
