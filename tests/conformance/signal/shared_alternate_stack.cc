// Threads that compute share one alternate stack, as servers do for handlers that end the process:
// nobody else may put anything there.
// expect: fibers>=8 native_fallbacks=0
#include "../../support/twin.h"
#include <sys/mman.h>
#include <atomic>

static const int kThreads = 8, kRounds = 100;
static const size_t kSize = 80 << 10;
static stack_t shared;
static std::atomic<int> ready_count, is_over, wrong, handled;

// On the normal stack.
static void count(int) { handled++; }

// Much of it in registers, the same each time.
__attribute__((noinline)) static uint64_t compute(uint64_t seed) {
    uint64_t a = seed, b = seed ^ 0x9e3779b97f4a7c15u, c = ~seed, d = seed << 7;
    double x = 1, y = 2;
    for (int i = 0; i < 3000; i++) {
        a += b ^ (c >> 3);
        b = (b << 13 | b >> 51) + d;
        c ^= a * 31;
        d += c ^ b;
        x += y * 0.5;
        y = x - y * 0.25;
        if (x > 1e9) x = y = 1;
    }
    return a ^ b ^ c ^ d ^ (uint64_t)(x + y);
}

static void* body(void* arg) {
    CHECK(sigaltstack(&shared, nullptr) == 0);
    stack_t now;
    CHECK(sigaltstack(nullptr, &now) == 0 && now.ss_sp == shared.ss_sp && now.ss_flags == 0);
    const uint64_t seed = (uint64_t)(intptr_t)arg, want = compute(seed);
    ready_count++;
    while (is_over.load() == 0)
        if (compute(seed) != want) wrong++;
    return nullptr;
}

int main() {
    shared.ss_sp = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(shared.ss_sp != MAP_FAILED);
    shared.ss_size = kSize;
    struct sigaction action = {};
    action.sa_handler = count;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR2, &action, nullptr) == 0);
    pthread_t t[kThreads];
    for (int i = 0; i < kThreads; i++) t[i] = start(body, (void*)(intptr_t)i);
    while (ready_count.load() < kThreads) sched_yield();
    for (int i = 0; i < kRounds; i++) {
        for (pthread_t one : t) CHECK(pthread_kill(one, SIGUSR2) == 0);
        sched_yield();
    }
    while (handled.load() < kThreads) nap(1);
    is_over = 1;
    for (pthread_t one : t) finish(one);
    printf("%d wrong\n", wrong.load());
    return 0;
}
