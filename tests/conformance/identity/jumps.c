// flags: -Wno-clobbered -Wno-infinite-recursion
// setjmp/longjmp and sigsetjmp/siglongjmp within a thread, across moves and out of a signal
// handler, with the mask restored where asked.
#include <setjmp.h>
#include <signal.h>

#include "switching.h"

static __thread jmp_buf plain;
static __thread sigjmp_buf with_mask;
static int jumps, from_handler;

__attribute__((noinline)) static void deep(int n, int value) {
    volatile char frame[256];
    frame[0] = (char)n;
    if (n == 0) {
        move_about(4);
        longjmp(plain, value);
    }
    deep(n - 1, value);
    frame[1] = frame[0];
}

static void handler(int sig) {
    (void)sig;
    bump(&from_handler);
    siglongjmp(with_mask, 3);
}

static int usr1_blocked(void) {
    sigset_t now;
    CHECK_OK(pthread_sigmask(SIG_BLOCK, NULL, &now));
    return sigismember(&now, SIGUSR1);
}

static void* body(void* argument) {
    volatile long n = (long)argument;
    volatile int count = 0;
    int got = setjmp(plain);
    if (got != 0) CHECK_EQ(got, n * 100 + count);
    if (count < 30) {
        count++;
        bump(&jumps);
        deep(20, (int)n * 100 + count);
    }
    CHECK_EQ(count, 30);
    for (volatile int i = 0; i < 10; i++) {
        move_about(3);
        if (sigsetjmp(with_mask, 1) == 0) {
            CHECK_EQ(raise(SIGUSR1), 0);
            CHECK_EQ(i, -1);  // never reached
        }
        CHECK_EQ(usr1_blocked(), 0);
    }
    // Without saving, the mask stays as the handler had it.
    if (sigsetjmp(with_mask, 0) == 0) raise(SIGUSR1);
    CHECK_EQ(usr1_blocked(), 1);
    move_about(4);
    CHECK_EQ(usr1_blocked(), 1);
    return NULL;
}

int main(void) {
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = handler;
    CHECK_EQ(sigaction(SIGUSR1, &a, NULL), 0);
    pthread_t t[8];
    for (long i = 0; i < 8; i++) t[i] = spawn(body, (void*)(i + 1));
    for (int i = 0; i < 8; i++) join(t[i]);
    CHECK_EQ(usr1_blocked(), 0);
    printf("jumps %d, from handler %d\n", jumps, from_handler);
    return 0;
}
