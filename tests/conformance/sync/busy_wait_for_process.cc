// More threads than processors spin for what another process does: each gives way to the next, and
// after a round in which nobody had anything else to do the kernel thread gives its CPU away.
// limit: 60
// expect: fibers>=12 busy_waiters>=1 busy_rounds>=1 native_fallbacks=0
#include <sys/mman.h>

#include <atomic>
#include <new>

#include "../../support/twin.h"

static const int kThreads = 12;
// Ten times what they need: a slice for each until it is known, then short ones.
static const int64_t kSpunMs = 1000;

static std::atomic<int>* is_over;

// Counted in CPU time, so that a busy machine changes nothing.
static void end_after_spinning(pid_t spinner) {
    clockid_t clock;
    if (clock_getcpuclockid(spinner, &clock) != 0) _exit(1);
    struct timespec spun = {0, 0};
    while (spun.tv_sec * 1000 + spun.tv_nsec / 1000000 < kSpunMs) {
        if (clock_gettime(clock, &spun) != 0) _exit(2);
        nap(1);
    }
    is_over->store(1, std::memory_order_release);
    _exit(0);
}

static void* spin(void*) {
    while (is_over->load(std::memory_order_acquire) == 0) {
    }
    return nullptr;
}

int main() {
    void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    is_over = new (memory) std::atomic<int>(0);
    const pid_t self = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) end_after_spinning(self);
    pthread_t t[kThreads];
    for (pthread_t& one : t) one = start(spin, nullptr);
    for (pthread_t one : t) finish(one);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    printf("the child ended with %d\n", status);
    return 0;
}
