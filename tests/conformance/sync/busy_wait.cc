// Ten threads that wait for each other's turn by reading a word in a loop, as fork-join programs
// do: each round needs a step of every one of them.
// limit: 60
// expect: fibers>=10 busy_waiters>=1 native_fallbacks=0
#include <atomic>

#include "../../support/twin.h"

static const int kThreads = 10, kRounds = 15;
static std::atomic<int> turn{0}, sum{0};

static void* step(void* arg) {
    const int me = (int)(intptr_t)arg;
    for (int round = 0; round < kRounds; round++) {
        while (turn.load(std::memory_order_acquire) != round * kThreads + me) {
        }
        sum += me + round;
        turn.fetch_add(1, std::memory_order_release);
    }
    return nullptr;
}

int main() {
    pthread_t t[kThreads];
    for (int i = 0; i < kThreads; i++) t[i] = start(step, (void*)(intptr_t)i);
    for (pthread_t one : t) finish(one);
    printf("%d steps, sum %d\n", turn.load(), sum.load());
    return 0;
}
