// flags: -Wno-infinite-recursion
// pthread_exit from many frames down: every C++ destructor on the way runs, in order, catch (...)
// sees the unwinding and passes it on, thread_local destructors and key destructors follow, and
// join gets the value.
#include "switching.h"

static int destroyed, rethrown, local_destroyed, key_destroyed, order_errors;
static pthread_key_t key;

struct Noisy {
    int depth;
    explicit Noisy(int d) : depth(d) {}
    ~Noisy() {
        // Innermost first.
        static __thread int previous = 1 << 20;
        if (depth >= previous) bump(&order_errors);
        previous = depth;
        move_about(1);
        bump(&destroyed);
    }
};

struct Local {
    ~Local() { bump(&local_destroyed); }
    int value = 3;
};
static thread_local Local local;

static void on_key(void*) { bump(&key_destroyed); }

__attribute__((noinline)) static int deeper(int depth, int end) {
    Noisy n(depth);
    if (depth == end) {
        move_about(4);
        pthread_exit(reinterpret_cast<void*>(static_cast<long>(depth)));
    }
    if (depth % 5 == 0) {
        try {
            return deeper(depth + 1, end) + 1;
        } catch (...) {
            bump(&rethrown);
            throw;
        }
    }
    return deeper(depth + 1, end) + 1;
}

static void* body(void* end) {
    CHECK_EQ(local.value, 3);
    CHECK_OK(pthread_setspecific(key, &key));
    deeper(1, static_cast<int>(reinterpret_cast<long>(end)));
    CHECK(!"reached");
    return nullptr;
}

int main() {
    CHECK_OK(pthread_key_create(&key, on_key));
    pthread_t t[10];
    for (long i = 0; i < 10; i++) t[i] = spawn(body, reinterpret_cast<void*>(20 + i));
    for (long i = 0; i < 10; i++) CHECK_EQ(join(t[i]), 20 + i);
    CHECK_EQ(order_errors, 0);
    CHECK_EQ(local_destroyed, 10);
    CHECK_EQ(key_destroyed, 10);
    printf("destroyed %d, rethrown %d, locals %d, keys %d\n", destroyed, rethrown, local_destroyed,
           key_destroyed);
    return 0;
}
