// __thread variables of every sort (zero, initialised, large, aligned, static in a function): fresh
// in each thread, own through moves, addresses stable and distinct, main's values kept across the
// first create.
#include <stdint.h>

#include "switching.h"

enum { kThreads = 12 };
static __thread int zero;
static __thread long initialised = 0x1234567890L;
static __thread char large[8192] = "text";
static __thread struct { char c; } __attribute__((aligned(64))) aligned = {'x'};
__thread int global_one = 17;
static void* address[kThreads];
static pthread_barrier_t all;

static int* in_function(void) {
    static __thread int counter = 100;
    return &counter;
}

static void* body(void* argument) {
    long n = (long)argument;
    CHECK_EQ(zero, 0);
    CHECK_EQ(initialised, 0x1234567890L);
    CHECK_STR(large, "text");
    for (unsigned i = 5; i < sizeof large; i++) CHECK_EQ(large[i], 0);
    CHECK_EQ(aligned.c, 'x');
    CHECK_EQ((uintptr_t)&aligned % 64, 0);
    CHECK_EQ(global_one, 17);
    CHECK_EQ(*in_function(), 100);
    address[n] = &zero;
    pthread_barrier_wait(&all);
    for (int k = 0; k < kThreads; k++) CHECK_EQ(address[k] == &zero, k == n);
    for (int round = 1; round <= 30; round++) {
        zero += (int)n;
        initialised = n * round;
        snprintf(large + 4000, 32, "thread %ld", n);
        aligned.c = (char)('a' + n);
        global_one++;
        ++*in_function();
        move_about(4);
        char want[32];
        snprintf(want, sizeof want, "thread %ld", n);
        CHECK_EQ(zero, n * round);
        CHECK_EQ(initialised, n * round);
        CHECK_STR(large + 4000, want);
        CHECK_EQ(aligned.c, 'a' + n);
        CHECK_EQ(global_one, 17 + round);
        CHECK_EQ(*in_function(), 100 + round);
        CHECK_EQ(&zero, address[n]);
    }
    return (void*)(long)zero;
}

int main(void) {
    zero = -1;
    initialised = -2;
    strcpy(large, "main");
    CHECK_OK(pthread_barrier_init(&all, NULL, kThreads));
    pthread_t t[kThreads];
    long sum = 0;
    for (long i = 0; i < kThreads; i++) t[i] = spawn(body, (void*)i);
    for (int i = 0; i < kThreads; i++) sum += (long)join(t[i]);
    CHECK_EQ(zero, -1);
    CHECK_EQ(initialised, -2);
    CHECK_STR(large, "main");
    printf("sum %ld\n", sum);
    return 0;
}
