// The wait queues on kernel threads: what every thread uses before the start and foreign threads
// use always.
#include "scheduler/wait_queue.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <thread>
#include <vector>

namespace pfiber {
namespace {

std::atomic<uint32_t> word{0};

bool is_zero(const void* address, void*) {
    return static_cast<const std::atomic<uint32_t>*>(address)->load() == 0;
}

WaitRequest request_on(const void* address) {
    WaitRequest request;
    request.address = address;
    request.validate = is_zero;
    return request;
}

TEST(WaitQueue, ValidationRefuses) {
    std::atomic<uint32_t> taken{1};
    EXPECT_FALSE(wait_on_address(request_on(&taken)).validated);
}

TEST(WaitQueue, NobodyToWake) { EXPECT_EQ(wake_address(&word, 10), 0); }

TEST(WaitQueue, DeadlineEndsTheWait) {
    WaitRequest request = request_on(&word);
    const int64_t until = Platform::now_ns() + 5000000;
    request.deadline_ns = until;
    int left = 0;
    request.argument = &left;
    request.on_leave = [](void* count) { ++*static_cast<int*>(count); };
    EXPECT_EQ(wait_on_address(request).outcome, Wake::kTimeout);
    EXPECT_GE(Platform::now_ns(), until);
    EXPECT_EQ(left, 1);
    EXPECT_EQ(wake_address(&word, 1), 0);
}

int wake_exactly(const void* address, int count, uint32_t bits = kAnyBits) {
    int woken = 0;
    while (woken < count) {
        woken += wake_address(address, count - woken, bits);
        std::this_thread::yield();
    }
    return woken;
}

TEST(WaitQueue, WakesAsManyAsAsked) {
    std::atomic<int> awake{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; i++)
        threads.emplace_back([&] {
            EXPECT_EQ(wait_on_address(request_on(&word)).outcome, Wake::kReady);
            awake++;
        });
    EXPECT_EQ(wake_exactly(&word, 2), 2);
    EXPECT_EQ(wake_exactly(&word, 4), 4);
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(awake, 6);
}

TEST(WaitQueue, BitsSelect) {
    std::atomic<int> odd{0};
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < 4; i++)
        threads.emplace_back([&, i] {
            WaitRequest request = request_on(&word);
            request.bits = 1 + i % 2;
            EXPECT_EQ(wait_on_address(request).outcome, Wake::kReady);
            if (i % 2 == 1) odd++;
        });
    wake_exactly(&word, 2, 2);
    while (odd != 2) std::this_thread::yield();
    EXPECT_EQ(wake_address(&word, 10, 2), 0);
    wake_exactly(&word, 2, 1);
    for (auto& thread : threads) thread.join();
}

TEST(WaitQueue, RequeueMoves) {
    std::atomic<uint32_t> target{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++)
        threads.emplace_back(
            [&] { EXPECT_EQ(wait_on_address(request_on(&word)).outcome, Wake::kReady); });
    int total = 0;
    while (total < 3) {
        int moved = 0;
        EXPECT_EQ(requeue_address(&word, 0, &target, 3 - total, nullptr, nullptr, &moved), 0);
        total += moved;
        std::this_thread::yield();
    }
    EXPECT_EQ(wake_address(&word, 10), 0);
    EXPECT_EQ(wake_address(&target, 10), 3);
    for (auto& thread : threads) thread.join();
}

TEST(WaitQueue, LongWaiterIsHandedTheObject) {
    static std::atomic<uint32_t> lock{0};
    std::atomic<int> handed{0};
    std::thread waiter([&] {
        WaitRequest request = request_on(&lock);
        request.since_ns = Platform::now_ns() - 2000000;
        handed = wait_on_address(request).handed ? 1 : 2;
    });
    int released = 0;
    while (handed == 0) {
        release_address(
            &lock, [](void* count) { ++*static_cast<int*>(count); }, &released);
        std::this_thread::yield();
        if (released > 0) released = 0;  // it was not waiting yet
    }
    waiter.join();
    EXPECT_EQ(handed, 1);
}

TEST(WaitQueue, HandlerInterrupts) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    std::atomic<bool> done{false};
    std::thread waiter([&] {
        EXPECT_EQ(wait_on_address(request_on(&word)).outcome, Wake::kSignal);
        done = true;
    });
    while (!done) {
        pthread_kill(waiter.native_handle(), SIGUSR1);
        std::this_thread::yield();
    }
    waiter.join();
    EXPECT_EQ(wake_address(&word, 1), 0);
}

}  // namespace
}  // namespace pfiber
