// SS_AUTODISARM: the alternate stack is none while its handler runs, there again afterwards, and
// each thread's own.
// expect: fibers>=3
#include "../../support/twin.h"

#define AUTODISARM (1 << 31)

static __thread char* own;
static __thread volatile int inside;
enum { kSize = 32768 };

static void handler(int sig) {
    (void)sig;
    char local;
    stack_t now;
    if (&local < own || &local >= own + kSize) return;
    if (sigaltstack(NULL, &now) != 0 || now.ss_flags != SS_DISABLE) return;
    sched_yield();
    inside++;
}

static void* body(void* unused) {
    (void)unused;
    own = malloc(kSize);
    stack_t stack = {.ss_sp = own, .ss_size = kSize, .ss_flags = (int)AUTODISARM}, now;
    CHECK(sigaltstack(&stack, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        CHECK(raise(SIGUSR1) == 0);
        sched_yield();
        CHECK(sigaltstack(NULL, &now) == 0);
        CHECK(now.ss_sp == own && now.ss_size == kSize && now.ss_flags == (int)AUTODISARM);
    }
    stack.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&stack, NULL) == 0);
    free(own);
    return (void*)(intptr_t)inside;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    pthread_t t[3];
    int sum = 0;
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&t[i], NULL, body, NULL) == 0);
    for (int i = 0; i < 3; i++) {
        void* result;
        CHECK(pthread_join(t[i], &result) == 0);
        sum += (int)(intptr_t)result;
    }
    printf("inside %d\n", sum);
    return 0;
}
