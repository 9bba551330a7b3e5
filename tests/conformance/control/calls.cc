// flags: -std=c++17
// expect: fibers=6
// The functions of pfiber.h from C++: yield, end, count, version; frames are unwound.
#include "twin.h"

#include <atomic>
#include <thread>

#include "../../../interpose/pfiber.h"

static std::atomic<int> unwound, passed;

struct Frame {
    ~Frame() { unwound++; }
};

static void leave(int depth) {
    Frame frame;
    if (depth > 0) leave(depth - 1);
    pfiber_goexit();
    passed++;
}

static void* body(void*) {
    for (int i = 0; i < 50; i++) pfiber_gosched();
    CHECK(pfiber_numgoroutine() >= 2 || !pfiber_active());
    leave(4);
    return nullptr;
}

int main() {
    CHECK_EQ(pfiber_version(), pfiber_active() ? PFIBER_API_VERSION : 0);
    CHECK_EQ(pfiber_numgoroutine(), pfiber_active());
    // Before the first thread: what the start will give.
    const int before = pfiber_gomaxprocs(3);
    CHECK_GE(before, 1);
    if (pfiber_active()) CHECK_EQ(pfiber_gomaxprocs(before), 3);
    pfiber_gosched();
    pfiber_unlockosthread();
    pfiber_syscall_block_end();
    errno = 0;
    pthread_t threads[5];
    for (pthread_t& thread : threads) thread = start(body, nullptr);
    for (pthread_t thread : threads) CHECK(finish(thread) == nullptr);
    CHECK_EQ(pfiber_numgoroutine(), pfiber_active());
    CHECK_EQ(pfiber_gomaxprocs(0), before);
    std::thread([] {
        pfiber_gomaxprocs(2);
        pfiber_setdefaultgomaxprocs();
        pfiber_gosched();
    }).join();
    if (pfiber_active()) {  // more than there may be counts as the most; errno is kept
        errno = 99;
        pfiber_gomaxprocs(5000);
        CHECK_EQ(pfiber_gomaxprocs(1), 1024);
        CHECK_EQ(errno, 99);
    }
    printf("%d frames unwound, %d passed\n", unwound.load(), passed.load());
    return 0;
}
