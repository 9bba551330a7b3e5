// flags: -std=c++20
// expect: fibers>=8
// latch, barrier, semaphores, atomic wait and notify, shared_mutex, timed mutexes, scoped_lock,
// call_once, condition_variable_any: counted, so that a lost wake-up hangs and a stray entry shows.
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "switching.h"

using namespace std::chrono_literals;
constexpr int kThreads = 8;

template <class F>
static void run(F f) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; i++) threads.emplace_back(f, i);
    for (auto& t : threads) t.join();
}

int main() {
    std::latch ready(kThreads), go(1);
    std::atomic<int> before{0}, after{0};
    std::thread opener([&] {
        ready.wait();
        CHECK_EQ(before.load(), kThreads);
        go.count_down();
    });
    run([&](int) {
        before++;
        ready.count_down();
        go.wait();
        after++;
    });
    opener.join();
    printf("latch %d\n", after.load());

    int completions = 0;
    std::atomic<int> phase{0};
    std::barrier barrier(kThreads, [&]() noexcept { completions++; });
    run([&](int i) {
        for (int r = 0; r < 200; r++) {
            if ((r + i) % 40 == 0) usleep(1);
            barrier.arrive_and_wait();
            phase++;
        }
    });
    printf("barrier %d %d\n", completions, phase.load());

    std::counting_semaphore<10> slots(3);
    std::binary_semaphore one(1);
    std::atomic<int> inside{0}, entries{0};
    int guarded = 0;
    run([&](int i) {
        for (int r = 0; r < 200; r++) {
            if (r % 3 == 0)
                while (!slots.try_acquire_for(10s)) continue;
            else
                slots.acquire();
            CHECK_LE(++inside, 3);
            if ((r + i) % 32 == 0) sched_yield();
            inside--;
            slots.release();
            one.acquire();
            guarded++;
            one.release();
            entries++;
        }
    });
    CHECK(one.try_acquire());
    CHECK(!one.try_acquire());
    auto start = std::chrono::steady_clock::now();
    CHECK(!one.try_acquire_for(15ms));
    CHECK(std::chrono::steady_clock::now() - start >= 15ms);
    printf("semaphores %d %d\n", entries.load(), guarded);

    std::atomic<int> ball{0};
    run([&](int i) {
        for (int r = 0; r < 100; r++) {
            for (int now; (now = ball.load()) % kThreads != i;) ball.wait(now);
            ball++;
            ball.notify_all();
        }
    });
    std::atomic_flag flag = ATOMIC_FLAG_INIT;
    std::thread setter([&] {
        likely_blocked();
        flag.test_and_set();
        flag.notify_one();
    });
    flag.wait(false);
    setter.join();
    printf("atomic wait %d\n", ball.load());

    std::shared_mutex rw;
    std::shared_timed_mutex timed_rw;
    std::timed_mutex timed;
    std::recursive_mutex recursive;
    std::recursive_timed_mutex recursive_timed;
    long a = 0, b = 0, c = 0;
    std::atomic<long> reads{0};
    run([&](int i) {
        for (int r = 0; r < 200; r++) {
            if (r % 4 == i % 4) {
                std::unique_lock<std::shared_mutex> hold(rw);
                a++;
                if (r % 20 == 0) sched_yield();
                b++;
            } else {
                std::shared_lock<std::shared_mutex> hold(rw);
                CHECK_EQ(a, b);
                reads++;
            }
            while (!timed_rw.try_lock_for(10s)) continue;
            timed_rw.unlock();
            CHECK(timed_rw.try_lock_shared_for(10min));
            timed_rw.unlock_shared();
            std::scoped_lock all(timed, recursive, recursive_timed);
            std::lock_guard<std::recursive_mutex> again(recursive);
            c++;
        }
    });
    CHECK(timed.try_lock());
    std::thread([&] {
        auto begin = std::chrono::steady_clock::now();
        CHECK(!timed.try_lock_for(15ms));
        CHECK(std::chrono::steady_clock::now() - begin >= 15ms);
        CHECK(!timed.try_lock_until(std::chrono::system_clock::now() + 5ms));
    }).join();
    timed.unlock();
    printf("mutexes %ld %ld %ld, reads %ld\n", a, b, c, reads.load());

    std::once_flag once;
    std::atomic<int> once_runs{0}, woken{0};
    std::condition_variable_any any;
    std::shared_mutex any_m;
    bool open = false;
    std::latch arrived(kThreads);
    std::thread door([&] {
        arrived.wait();
        std::unique_lock<std::shared_mutex> hold(any_m);
        open = true;
        any.notify_all();
    });
    run([&](int) {
        std::call_once(once, [&] {
            move_about(4);
            once_runs++;
        });
        CHECK_EQ(once_runs.load(), 1);
        arrived.count_down();
        std::shared_lock<std::shared_mutex> hold(any_m);
        any.wait(hold, [&] { return open; });
        woken++;
    });
    door.join();
    printf("once %d, woken %d\n", once_runs.load(), woken.load());
    return 0;
}
