// flags: -std=c++20
// C++20: jthread with stop tokens, async, packaged tasks, latch, barrier, counting_semaphore,
// atomic waits, shared_mutex, condition_variable_any, call_once with exceptions, thread_local
// destructors, parallel algorithms by hand.
#include <atomic>
#include <barrier>
#include <condition_variable>
#include <cstdio>
#include <future>
#include <latch>
#include <mutex>
#include <semaphore>
#include <set>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

static std::atomic<int> destroyed;
struct Local {
    std::string text = "new";
    ~Local() { destroyed++; }
};
static thread_local Local local;

static void threads() {
    std::mutex mutex;
    std::set<std::thread::id> ids;
    std::latch all(100);
    std::vector<std::jthread> pool;
    for (int i = 0; i < 100; i++)
        pool.emplace_back([&] {
            all.arrive_and_wait();
            local.text += "x";
            std::lock_guard guard(mutex);
            ids.insert(std::this_thread::get_id());
        });
    pool.clear();
    std::printf("ids %zu destroyed %d own %s\n", ids.size(), destroyed.load(), local.text.c_str());
}

static void stopping() {
    std::atomic<int> stopped{0};
    std::mutex mutex;
    std::condition_variable_any condition;
    {
        std::vector<std::jthread> pool;
        for (int i = 0; i < 20; i++)
            pool.emplace_back([&](std::stop_token token) {
                std::unique_lock lock(mutex);
                condition.wait(lock, token, [] { return false; });
                stopped++;
            });
    }
    std::stop_source source;
    std::stop_callback callback(source.get_token(), [&] { stopped++; });
    std::jthread([&] { source.request_stop(); }).join();
    std::printf("stopped %d\n", stopped.load());
}

static void phases() {
    int completed = 0;
    auto on_completion = [&]() noexcept { completed++; };
    std::barrier barrier(16, on_completion);
    std::counting_semaphore<16> semaphore(3);
    std::atomic<int> inside{0}, most{0}, phase{0};
    {
        std::vector<std::jthread> pool;
        for (int i = 0; i < 16; i++)
            pool.emplace_back([&] {
                for (int n = 0; n < 50; n++) {
                    semaphore.acquire();
                    const int now = ++inside;
                    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
                    }
                    inside--;
                    semaphore.release();
                    barrier.arrive_and_wait();
                }
            });
    }
    std::printf("phases %d inside %d\n", completed, most.load() <= 3);
    std::jthread waiter([&] {
        while (phase.load() < 5) {
            const int seen = phase;
            if (seen < 5) phase.wait(seen);
        }
        std::puts("atomic wait");
    });
    for (int i = 0; i < 5; i++) {
        phase++;
        phase.notify_all();
    }
    waiter.join();
    std::binary_semaphore never(0);
    std::printf("semaphore %d\n", never.try_acquire_for(5ms));
}

static void futures() {
    std::vector<std::future<int>> results;
    for (int i = 0; i < 200; i++)
        results.push_back(std::async(std::launch::async, [i] { return i * i % 101; }));
    int sum = 0;
    for (auto& result : results) sum += result.get();
    std::packaged_task<int(int)> task(
        [](int n) -> int { throw std::out_of_range(std::to_string(n)); });
    auto failing = task.get_future();
    std::jthread(std::move(task), 7).join();
    try {
        failing.get();
    } catch (const std::out_of_range& error) {
        std::printf("futures %d thrown %s\n", sum, error.what());
    }
    std::promise<void> promise;
    auto shared = promise.get_future().share();
    std::atomic<int> told{0};
    std::vector<std::jthread> pool;
    for (int i = 0; i < 30; i++) pool.emplace_back([&, shared] { shared.wait(), told++; });
    std::printf("pending %d\n", shared.wait_for(2ms) == std::future_status::timeout);
    promise.set_value();
    pool.clear();
    auto lost = std::promise<int>().get_future();
    try {
        lost.get();
    } catch (const std::future_error& error) {
        std::printf("told %d broken %d\n", told.load(),
                    error.code() == std::future_errc::broken_promise);
    }
}

static void locks() {
    std::shared_timed_mutex shared;
    std::recursive_timed_mutex recursive;
    std::mutex first, second;
    std::once_flag once;
    int calls = 0, value = 0, crossed = 0;
    {
        std::vector<std::jthread> pool;
        for (int i = 0; i < 24; i++)
            pool.emplace_back([&, i] {
                for (int n = 0; n < 100; n++) {
                    if (i % 4 == 0) {
                        std::unique_lock lock(shared);
                        value++;
                    } else {
                        std::shared_lock lock(shared);
                        if (value < 0) std::puts("negative");
                    }
                    if (i % 2 == 0) {
                        std::scoped_lock both(first, second);
                        crossed++;
                    } else {
                        std::scoped_lock both(second, first);
                        crossed++;
                    }
                }
                try {
                    std::call_once(once, [&] {
                        if (++calls < 3) throw calls;
                    });
                } catch (int) {
                }
                std::lock_guard outer(recursive), inner(recursive);
            });
    }
    std::unique_lock held(shared);
    std::jthread late([&] {
        std::printf("value %d crossed %d calls %d timed %d\n", value, crossed, calls,
                    shared.try_lock_shared_for(3ms));
    });
}

int main() {
    threads();
    stopping();
    phases();
    futures();
    locks();
}
