// SIGXFSZ, like SIGPIPE, is the writing thread's: its handler has run there when the call that went
// beyond RLIMIT_FSIZE returns EFBIG, though other threads would take the signal, too.
// expect: fibers>=3
#include <sys/mman.h>
#include <sys/resource.h>

#include "../../support/twin.h"

static __thread volatile int mine;
static volatile int elsewhere;
static __thread volatile int writes;
static int file;

static void handler(int sig, siginfo_t* info, void* context) {
    (void)context;
    CHECK(sig == SIGXFSZ && info->si_signo == SIGXFSZ);
    if (writes)
        mine++;
    else
        elsewhere++;
}

static void* body(void* unused) {
    (void)unused;
    char bytes[64] = {0};
    writes = 1;
    for (int i = 1; i <= 20; i++) {
        ssize_t n = i % 2 ? pwrite(file, bytes, sizeof bytes, 4096) : ftruncate(file, 8192);
        CHECK(n == -1 && errno == EFBIG);
        CHECK(mine == i);
        sched_yield();
    }
    return (void*)(intptr_t)mine;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGXFSZ, &action, NULL) == 0);
    file = memfd_create("limited", MFD_CLOEXEC);
    CHECK(file >= 0);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = 4096;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    pthread_t t[3];
    int sum = 0;
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&t[i], NULL, body, NULL) == 0);
    for (int i = 0; i < 3; i++) {
        void* result;
        CHECK(pthread_join(t[i], &result) == 0);
        sum += (int)(intptr_t)result;
    }
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    printf("own %d, elsewhere %d\n", sum, elsewhere);
    return 0;
}
