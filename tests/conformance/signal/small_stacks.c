// Threads with an alternate stack compute on stacks of their own that have no room for a signal's
// frame, as language runtimes do: what stands below is not touched.
// expect: fibers>=6 native_fallbacks=0
#include "../../support/twin.h"

enum { kBelow = 16384, kUsed = 256 };

static void spin(void* counter) {
    volatile uint64_t* left = counter;
    while (*left != 0) (*left)--;
}

static void on_stack(void* top, void (*body)(void*), void* argument) {
    __asm__ volatile(
        "movq %%rsp, %%rbx\n\t"
        "movq %0, %%rsp\n\t"
        "callq *%1\n\t"
        "movq %%rbx, %%rsp\n\t"
        :
        : "r"(top), "r"(body), "D"(argument)
        : "rbx", "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
}

static void* computes(void* arg) {
    const size_t size = 65536;
    stack_t stack = {.ss_sp = malloc(size), .ss_size = size}, old;
    CHECK(sigaltstack(&stack, NULL) == 0);
    unsigned char* memory = aligned_alloc(16, kBelow + kUsed);
    memset(memory, 0x5a, kBelow + kUsed);
    uint64_t left = 60000000;
    on_stack(memory + kBelow + kUsed, spin, &left);
    intptr_t touched = 0;
    for (int i = 0; i < kBelow; i++) touched += memory[i] != 0x5a;
    CHECK(sigaltstack(NULL, &old) == 0 && old.ss_sp == stack.ss_sp && old.ss_flags == 0);
    stack.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&stack, NULL) == 0);
    free(memory);
    free(old.ss_sp);
    return arg == NULL ? (void*)touched : arg;
}

// The same, interrupted on its own stack: moves between processors.
static void* computes_at_home(void* arg) {
    const size_t size = 65536;
    stack_t stack = {.ss_sp = malloc(size), .ss_size = size}, old;
    CHECK(sigaltstack(&stack, NULL) == 0);
    for (volatile int i = 0; i < 60000000; i++) continue;
    CHECK(sigaltstack(NULL, &old) == 0 && old.ss_sp == stack.ss_sp && old.ss_flags == 0);
    return arg;
}

int main(void) {
    pthread_t t[6];
    for (int i = 0; i < 6; i++) t[i] = start(i % 2 == 0 ? computes : computes_at_home, NULL);
    intptr_t touched = 0;
    for (int i = 0; i < 6; i++) touched += (intptr_t)finish(t[i]);
    printf("%d bytes touched\n", (int)touched);
    return 0;
}
