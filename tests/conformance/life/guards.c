// The attributes of a running thread tell its stack exactly: the lowest byte may be written, the
// one below faults with SEGV_ACCERR at its own address, and so does the lowest one of the guard.
// expect: fibers>=7
#include <gnu/libc-version.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

#include "switching.h"

static __thread sigjmp_buf back;
static __thread char* volatile fault;
static __thread volatile int code;

static void on_fault(int sig, siginfo_t* info, void* context) {
    (void)sig;
    (void)context;
    fault = info->si_addr;
    code = info->si_code;
    siglongjmp(back, 1);
}

static int faults(char* at) {
    fault = NULL;
    if (sigsetjmp(back, 1) == 0) {
        *(volatile char*)at = 1;
        return 0;
    }
    CHECK_EQ(fault, at);
    if (strverscmp(gnu_get_libc_version(), "2.42") < 0) CHECK_EQ(code, SEGV_ACCERR);
    return 1;
}

static void* body(void* unused) {
    (void)unused;
    move_about(3);
    pthread_attr_t a;
    void* low;
    size_t size, guard;
    CHECK_OK(pthread_getattr_np(pthread_self(), &a));
    CHECK_OK(pthread_attr_getstack(&a, &low, &size));
    CHECK_OK(pthread_attr_getguardsize(&a, &guard));
    CHECK_OK(pthread_attr_destroy(&a));
    char local, *bottom = low;
    CHECK(&local >= bottom && &local < bottom + size);
    stack_t alternate = {.ss_sp = malloc(65536), .ss_size = 65536}, none = {.ss_flags = SS_DISABLE};
    CHECK_EQ(sigaltstack(&alternate, NULL), 0);
    CHECK(!faults(bottom));
    CHECK(!faults(bottom + 4095));
    int count = 0;
    if (guard > 0) count = faults(bottom - 1) + faults(bottom - (long)guard);
    CHECK_EQ(sigaltstack(&none, NULL), 0);
    free(alternate.ss_sp);
    printf("stack %zu, guard %zu: %d faults\n", size, guard, count);
    return NULL;
}

static void with(size_t stack, size_t guard) {
    pthread_attr_t a;
    pthread_t t;
    CHECK_OK(pthread_attr_init(&a));
    if (stack != 0) CHECK_OK(pthread_attr_setstacksize(&a, stack));
    CHECK_OK(pthread_attr_setguardsize(&a, guard));
    CHECK_OK(pthread_create(&t, &a, body, NULL));
    join(t);
    CHECK_OK(pthread_attr_destroy(&a));
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
    with(64 << 10, 4096);
    with((64 << 10) + 4096, 4096);
    with(100000, 8192);
    with(1 << 20, 1);
    with(1 << 20, 65536);
    with(8 << 20, 4096);
    with(8 << 20, 0);
    return 0;
}
