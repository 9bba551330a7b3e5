// flags: -std=c++20
// expect: fibers>=10
// std::thread, jthread with stop tokens, async, future, promise, packaged_task, exceptions carried
// over.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <numeric>
#include <set>
#include <stop_token>
#include <thread>
#include <vector>

#include "switching.h"

using namespace std::chrono_literals;

static void threads() {
    std::mutex m;
    std::set<std::thread::id> ids;
    std::vector<std::thread> all;
    for (int i = 0; i < 10; i++)
        all.emplace_back(
            [&, i](std::string text) {
                move_about(i);
                CHECK_STR(text.c_str(), "argument");
                std::lock_guard<std::mutex> hold(m);
                CHECK(ids.insert(std::this_thread::get_id()).second);
            },
            std::string("argument"));
    // Alive together, so that the ids must differ.
    for (auto& t : all) CHECK(t.joinable());
    for (auto& t : all) t.join();
    CHECK_EQ(ids.count(std::this_thread::get_id()), 0);
    printf("threads %zu\n", all.size());
}

static void futures() {
    std::vector<std::future<int>> results;
    for (int i = 0; i < 10; i++)
        results.push_back(std::async(std::launch::async, [i] {
            move_about(4);
            if (i % 5 == 4) throw std::runtime_error(std::to_string(i));
            return i * i;
        }));
    int sum = 0, thrown = 0;
    for (auto& r : results) {
        try {
            sum += r.get();
        } catch (const std::runtime_error& e) {
            thrown += atoi(e.what());
        }
    }
    std::promise<std::string> promise;
    auto future = promise.get_future().share();
    CHECK(future.wait_for(5ms) == std::future_status::timeout);
    std::atomic<int> saw{0};
    std::vector<std::thread> waiters;
    for (int i = 0; i < 4; i++)
        waiters.emplace_back([&, future] {
            CHECK_STR(future.get().c_str(), "value");
            saw++;
        });
    likely_blocked();
    promise.set_value("value");
    for (auto& w : waiters) w.join();
    std::promise<void> at_exit;
    auto exited = at_exit.get_future();
    std::thread([&] { at_exit.set_value_at_thread_exit(); }).detach();
    exited.wait();
    std::packaged_task<int(int)> task([](int x) { return x + 1; });
    auto packaged = task.get_future();
    std::thread(std::move(task), 41).join();
    printf("sum %d, thrown %d, saw %d, packaged %d\n", sum, thrown, saw.load(), packaged.get());
}

static void stop_tokens() {
    std::atomic<int> stopped{0}, rounds{0}, callbacks{0};
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; i++)
            threads.emplace_back([&](std::stop_token token) {
                std::atomic<bool> called{false};
                std::stop_callback callback(token, [&] {
                    callbacks++;
                    called = true;
                });
                std::mutex m;
                std::condition_variable_any c;
                std::unique_lock<std::mutex> hold(m);
                // Ends only because of the stop request.
                CHECK(!c.wait(hold, token, [&] {
                    rounds++;
                    return false;
                }));
                CHECK(token.stop_requested());
                // The wait's own callback ran first; ours must not be taken back before its turn.
                while (!called) std::this_thread::yield();
                stopped++;
            });
        likely_blocked();
    }
    printf("stopped %d, callbacks %d\n", stopped.load(), callbacks.load());
}

static void sleeps() {
    auto start = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(15ms);
    std::this_thread::sleep_until(start + 30ms);
    CHECK(std::chrono::steady_clock::now() - start >= 30ms);
    std::mutex m;
    std::condition_variable c;
    std::unique_lock<std::mutex> hold(m);
    start = std::chrono::steady_clock::now();
    CHECK(!c.wait_for(hold, 20ms, [] { return false; }));
    CHECK(std::chrono::steady_clock::now() - start >= 20ms);
}

int main() {
    threads();
    futures();
    stop_tokens();
    sleeps();
    return 0;
}
