// Threads that compute on stacks of their own making, as coroutine libraries do, are interrupted
// there: each waits, without a call, for one that comes after it, and goes on where it was.
#include <stdlib.h>
#include <ucontext.h>

#include "../../support/twin.h"

enum { kThreads = 5, kStack = 64 << 10 };
static int turn = kThreads;
static __thread ucontext_t outer, inner;
static __thread unsigned long sum;

static int turn_now(void) { return __atomic_load_n(&turn, __ATOMIC_ACQUIRE); }

static void coroutine(int me) {
    unsigned long here = 0;
    while (turn_now() != me) {
        here++;
        sum++;
    }
    CHECK_EQ(here, sum);
    __atomic_store_n(&turn, me - 1, __ATOMIC_RELEASE);
}

static void* body(void* argument) {
    char* stack = malloc(kStack);
    CHECK(stack != NULL);
    CHECK_EQ(getcontext(&inner), 0);
    inner.uc_stack.ss_sp = stack;
    inner.uc_stack.ss_size = kStack;
    inner.uc_link = &outer;
    makecontext(&inner, (void (*)(void))coroutine, 1, (int)(long)argument);
    CHECK_EQ(swapcontext(&outer, &inner), 0);
    free(stack);
    return NULL;
}

int main(void) {
    pthread_t threads[kThreads];
    for (long i = 0; i < kThreads; i++)
        CHECK_OK(pthread_create(&threads[i], NULL, body, (void*)(i + 1)));
    body((void*)0);
    for (int i = 0; i < kThreads; i++) CHECK_OK(pthread_join(threads[i], NULL));
    printf("turn %d\n", turn_now());
    return 0;
}
