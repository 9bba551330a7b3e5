// An initialiser that throws is run again by the next caller: pthread_once, std::call_once, and a
// function-local static; the exception reaches exactly the caller that ran it.
#include <atomic>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "switching.h"

static std::atomic<int> attempts, caught, passed;

static void third_time_lucky() {
    int n = ++attempts;
    move_about(5);
    if (n % 3 != 0) throw std::runtime_error("attempt");
}

struct Lazy {
    Lazy() { third_time_lucky(); }
    int value = 42;
};
static Lazy& lazy() {
    static Lazy instance;
    return instance;
}

template <class F>
static void race(const char* name, F f) {
    attempts = caught = passed = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++)
        threads.emplace_back([&] {
            // Repeats until it gets through, so that an initialiser always finishes at last.
            for (bool through = false; !through;) {
                try {
                    f();
                    through = true;
                    ++passed;
                } catch (const std::runtime_error& e) {
                    CHECK_STR(e.what(), "attempt");
                    move_about(2);
                    ++caught;
                }
            }
        });
    for (auto& t : threads) t.join();
    CHECK_EQ(attempts.load(), 3);
    printf("%s: caught %d, passed %d\n", name, caught.load(), passed.load());
}

int main() {
    pthread_once_t raw = PTHREAD_ONCE_INIT;
    race("pthread_once", [&] { CHECK_OK(pthread_once(&raw, third_time_lucky)); });
    std::once_flag flag;
    race("std::call_once", [&] { std::call_once(flag, third_time_lucky); });
    race("local static", [] { CHECK_EQ(lazy().value, 42); });
    return 0;
}
