// expect: fibers>=10
// C++ thread_local objects: built on first use once per thread, destroyed once at its end in
// reverse order of construction, after the body and before key destructors, also for those made
// during destruction.
#include <string>
#include <thread>
#include <vector>

#include "switching.h"

static int built, destroyed, late_built, keys_run, wrong_order, main_destroyed;
static thread_local std::vector<int> trace;  // outlives the others: made first
static pthread_key_t key;
static pthread_t main_thread;

struct Late {
    Late() { bump(&late_built); }
    ~Late() { bump(&destroyed); }
    void touch() {}
};

template <int N>
struct Tracked {
    std::string name = "number " + std::to_string(N);
    Tracked() {
        bump(&built);
        trace.push_back(N);
        move_about(2);
    }
    ~Tracked() {
        move_about(2);
        if (name != "number " + std::to_string(N) || trace.empty() || trace.back() != N)
            bump(&wrong_order);
        trace.pop_back();
        bump(&destroyed);
        if (N == 2) {
            static thread_local Late late;
            late.touch();
        }
        if (pthread_equal(pthread_self(), main_thread)) main_destroyed++;
    }
};
static thread_local Tracked<1> one;
static thread_local Tracked<2> two;
static thread_local Tracked<3> never_used_in_some;

static void on_key(void* value) {
    // The thread_local objects are gone by now.
    if (!trace.empty()) bump(&wrong_order);
    CHECK_EQ(value, &key);
    bump(&keys_run);
}

static void* body(void* argument) {
    long n = reinterpret_cast<long>(argument);
    CHECK_OK(pthread_setspecific(key, &key));
    trace.reserve(8);
    move_about(4);
    // Objects of one file are all built by the first use of any of them.
    if (n % 3 != 0) CHECK_STR(two.name.c_str(), "number 2");
    if (n % 3 == 2) {
        static thread_local Tracked<4> in_function;
        CHECK_STR(in_function.name.c_str(), "number 4");
    }
    move_about(8);
    if (n % 2) pthread_exit(nullptr);
    return nullptr;
}

int main() {
    main_thread = pthread_self();
    CHECK_OK(pthread_key_create(&key, on_key));
    pthread_t t[12];
    for (long i = 0; i < 12; i++) t[i] = spawn(body, reinterpret_cast<void*>(i));
    for (int i = 0; i < 12; i++) join(t[i]);
    CHECK_EQ(wrong_order, 0);
    CHECK_EQ(keys_run, 12);
    CHECK_EQ(built + late_built, destroyed);
    printf("built %d, late %d, destroyed %d, keys %d\n", built, late_built, destroyed, keys_run);
    return 0;
}
