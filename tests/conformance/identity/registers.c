// expect: fibers>=4
// Long computations without a single call, in integer, SSE and x87 registers, by several threads at
// once: whoever interrupts them must restore every register. Each result is known from a run alone.
#include "switching.h"

enum { kThreads = 4, kSteps = 20000000 };
typedef double v2 __attribute__((vector_size(16)));

struct result {
    unsigned long integers;
    v2 vector;
    long double extended;
};

__attribute__((noinline)) static struct result compute(unsigned long seed) {
    unsigned long a = seed, b = seed ^ 0x9e3779b97f4a7c15, c = 1, d = 2, e = 3, f = 5;
    v2 x = {1.0 + (double)seed, 2.0}, y = {0.5, 0.25};
    long double z = 1.0L;
    for (int i = 0; i < kSteps; i++) {
        a = a * 6364136223846793005UL + b;
        b ^= a >> 29;
        c += a ^ d;
        d = (d << 1 | d >> 63) + c;
        e -= d & f;
        f ^= e + b;
        x = x * 0.999999 + y;
        y = -y;
        if (i % 8 == 0) z = z * 0.9999999L + (long double)(a & 15);
    }
    return (struct result){a ^ b ^ c ^ d ^ e ^ f, x, z};
}

static struct result alone[kThreads];
static int same;

static void* body(void* argument) {
    long n = (long)argument;
    struct result r = compute((unsigned long)n);
    CHECK_EQ(r.integers, alone[n].integers);
    CHECK(r.vector[0] == alone[n].vector[0] && r.vector[1] == alone[n].vector[1]);
    CHECK(r.extended == alone[n].extended);
    bump(&same);
    return NULL;
}

int main(void) {
    for (long i = 0; i < kThreads; i++) alone[i] = compute((unsigned long)i);
    pthread_t t[kThreads];
    for (long i = 0; i < kThreads; i++) t[i] = spawn(body, (void*)i);
    // Main keeps asking for its turn, so that the others must be interrupted.
    while (__atomic_load_n(&same, __ATOMIC_ACQUIRE) < kThreads) usleep(500);
    for (int i = 0; i < kThreads; i++) join(t[i]);
    printf("same %d\n", same);
    return 0;
}
