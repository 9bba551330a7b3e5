// The context of a handler for a signal that another thread sent is what the program was at: a
// loop that makes no call, found by its addresses, and what the handler writes there is what the
// thread goes on with.  Mono aborts threads so, and collectors and profilers read registers there.
// expect: fibers>=1 native_fallbacks=0
#include "../../support/twin.h"

#include <sched.h>
#include <stdatomic.h>
#include <ucontext.h>

enum { kRounds = 10 };

extern const char loop_begins[], loop_ends[];
static _Atomic(uintptr_t) in_loop;
static atomic_int moved, elsewhere;

// Runs until its handler takes it out; the register says that it was this frame.
__attribute__((noinline)) static long loop(long mark) {
    long left = mark;
    __asm__ volatile(
        ".globl loop_begins, loop_ends\n"
        "loop_begins: movq $1, %1\n1: pause\njmp 1b\n"
        "loop_ends: movq $0, %1\n"
        : "+r"(left), "=m"(in_loop)
        :
        : "memory", "cc");
    return left;
}

static void on_signal(int signal, siginfo_t* info, void* context) {
    greg_t* pc = &((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
    CHECK(signal == SIGUSR1 && info->si_pid == getpid());
    if (*pc < (greg_t)loop_begins || *pc >= (greg_t)loop_ends) {
        elsewhere++;
        return;
    }
    *pc = (greg_t)loop_ends;
    in_loop = 0;  // before anybody sends the next
    moved++;
}

static void* run(void* argument) {
    (void)argument;
    for (long i = 1; i <= kRounds; i++) CHECK(loop(i) == i);
    return NULL;
}

int main(void) {
    struct sigaction action = {0};
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    action.sa_sigaction = on_signal;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    pthread_t t = start(run, NULL);
    for (int i = 1; i <= kRounds; i++) {
        while (in_loop == 0) sched_yield();
        CHECK(pthread_kill(t, SIGUSR1) == 0);
        while (moved < i && elsewhere == 0) sched_yield();
        CHECK(elsewhere == 0);
    }
    finish(t);
    printf("%d times out of the loop\n", (int)moved);
    return 0;
}
