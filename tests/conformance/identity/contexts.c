// ucontext inside threads: coroutines on stacks of their own, swapped while the thread moves,
// blocks and touches thread-local values from within the coroutine.
#include <stdlib.h>
#include <ucontext.h>

#include "switching.h"

enum { kStack = 64 << 10, kSwaps = 40 };
static __thread ucontext_t outer, inner;
static __thread int swaps;
static int finished;

static void coroutine(int n) {
    for (int i = 0; i < kSwaps; i++) {
        CHECK_EQ(swaps, n * 1000 + i);
        move_about(3);
        CHECK_EQ(swaps, n * 1000 + i);
        errno = n;
        CHECK_EQ(swapcontext(&inner, &outer), 0);
    }
    bump(&finished);
}

static void* body(void* argument) {
    int n = (int)(long)argument;
    char* stack = malloc(kStack);
    CHECK_EQ(getcontext(&inner), 0);
    inner.uc_stack.ss_sp = stack;
    inner.uc_stack.ss_size = kStack;
    inner.uc_link = &outer;
    makecontext(&inner, (void (*)(void))coroutine, 1, n);
    swaps = n * 1000;
    for (int i = 0; i <= kSwaps; i++) {
        CHECK_EQ(swapcontext(&outer, &inner), 0);
        if (i < kSwaps) CHECK_EQ(errno, n);
        swaps++;
        move_about(2);
    }
    free(stack);
    return NULL;
}

int main(void) {
    pthread_t t[8];
    for (long i = 0; i < 8; i++) t[i] = spawn(body, (void*)(i + 1));
    for (int i = 0; i < 8; i++) join(t[i]);
    printf("finished %d\n", finished);
    return 0;
}
