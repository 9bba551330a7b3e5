// flags: -Wno-clobbered -Wno-infinite-recursion
// A thread that overflows its stack gets SIGSEGV on its alternate stack, with an address near the
// lower end of its own stack; the handler leaves by siglongjmp, twice, and the thread ends in
// order.
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

#include "switching.h"

static __thread sigjmp_buf back;
static __thread char *low, *alternate;
static __thread int overflows;
static int good_address, on_alternate;
static volatile int always = 1;

static void handler(int sig, siginfo_t* info, void* context) {
    (void)context;
    CHECK_EQ(sig, SIGSEGV);
    char local, *address = info->si_addr;
    if (address >= low - (64 << 10) && address < low + (64 << 10)) bump(&good_address);
    if (&local >= alternate && &local < alternate + (64 << 10)) bump(&on_alternate);
    overflows++;
    siglongjmp(back, 1);
}

__attribute__((noinline)) static int forever(int n) {
    volatile char frame[512];
    frame[0] = (char)n;
    if (always) return forever(n + 1) + frame[0];
    return 0;
}

static void* body(void* unused) {
    (void)unused;
    alternate = malloc(64 << 10);
    stack_t s = {.ss_sp = alternate, .ss_size = 64 << 10}, old;
    CHECK_EQ(sigaltstack(&s, NULL), 0);
    pthread_attr_t a;
    void* l;
    size_t size;
    CHECK_OK(pthread_getattr_np(pthread_self(), &a));
    CHECK_OK(pthread_attr_getstack(&a, &l, &size));
    low = l;
    CHECK_OK(pthread_attr_destroy(&a));
    for (overflows = 0; overflows < 2;) {
        move_about(4);
        if (sigsetjmp(back, 1) == 0) forever(0);
    }
    CHECK_EQ(overflows, 2);
    CHECK_EQ(sigaltstack(NULL, &old), 0);
    CHECK_EQ(old.ss_sp, alternate);
    CHECK_EQ(old.ss_flags, 0);
    s.ss_flags = SS_DISABLE;
    CHECK_EQ(sigaltstack(&s, NULL), 0);
    free(alternate);
    return (void*)1;
}

int main(void) {
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = handler;
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
    CHECK_EQ(sigaction(SIGSEGV, &sa, NULL), 0);
    pthread_attr_t a;
    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_setstacksize(&a, 256 << 10));
    pthread_t t[4];
    for (int i = 0; i < 4; i++) CHECK_OK(pthread_create(&t[i], &a, body, NULL));
    long ended = 0;
    for (int i = 0; i < 4; i++) ended += (long)join(t[i]);
    printf("ended %ld, addresses %d, on alternate stack %d\n", ended, good_address, on_alternate);
    return 0;
}
