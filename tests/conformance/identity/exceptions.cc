// expect: fibers>=12
// Exception state is the thread's: threads throw, yield inside handlers, nest, rethrow and hold
// current_exception at the same time; uncaught_exceptions counts their own only; exception_ptr
// crosses threads.
#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "switching.h"

static std::atomic<int> caught, rethrown, nested, from_destructor, crossed;

struct Unwinding {
    std::string expected;
    ~Unwinding() {
        CHECK_EQ(std::uncaught_exceptions(), 1);
        move_about(3);
        try {
            throw std::out_of_range("inner " + expected);
        } catch (const std::out_of_range& e) {
            move_about(3);
            CHECK("inner " + expected == e.what());
            from_destructor++;
        }
        CHECK_EQ(std::uncaught_exceptions(), 1);
    }
};

static void throws_deep(int depth, const std::string& text) {
    if (depth == 0) {
        move_about(2);
        throw std::runtime_error(text);
    }
    if (depth == 3) {
        Unwinding u{text};
        throws_deep(depth - 1, text);
    }
    throws_deep(depth - 1, text);
}

static void body(int n) {
    for (int i = 0; i < 20; i++) {
        std::string text = "thread " + std::to_string(n) + " round " + std::to_string(i);
        CHECK_EQ(std::uncaught_exceptions(), 0);
        CHECK(!std::current_exception());
        std::exception_ptr kept;
        try {
            try {
                throws_deep(8, text);
            } catch (const std::exception& e) {
                move_about(4);
                CHECK_STR(e.what(), text.c_str());
                caught++;
                try {
                    move_about(2);
                    throw n;
                } catch (int v) {
                    move_about(2);
                    CHECK_EQ(v, n);
                    nested++;
                }
                kept = std::current_exception();
                throw;
            }
        } catch (std::runtime_error& e) {
            move_about(4);
            CHECK_STR(e.what(), text.c_str());
            CHECK(std::current_exception() == kept);
            rethrown++;
        }
        try {
            std::rethrow_exception(kept);
        } catch (const std::runtime_error& e) {
            CHECK_STR(e.what(), text.c_str());
        }
        if (i % 10 == 0)
            std::thread([&] {
                try {
                    std::rethrow_exception(kept);
                } catch (const std::runtime_error& e) {
                    move_about(2);
                    CHECK_STR(e.what(), text.c_str());
                    crossed++;
                }
            }).join();
    }
}

int main() {
    std::vector<std::thread> threads;
    for (int i = 0; i < 12; i++) threads.emplace_back(body, i);
    for (auto& t : threads) t.join();
    printf("caught %d, rethrown %d, nested %d, in destructors %d, crossed %d\n", caught.load(),
           rethrown.load(), nested.load(), from_destructor.load(), crossed.load());
    return 0;
}
