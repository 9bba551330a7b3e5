// expect: fibers>=20
// gettid: stable for each thread, different for all that live together, main's is the pid, the same
// by libc and by syscall(2); getpid is the same everywhere; the id can be used in tgkill.
#include <signal.h>
#include <sys/syscall.h>

#include "switching.h"

enum { kThreads = 20 };
static pid_t tids[kThreads];
static pthread_barrier_t all;
static int handled;
static __thread pid_t mine;

static void handler(int sig) {
    (void)sig;
    if (mine != gettid()) _exit(4);
    bump(&handled);
}

static void* body(void* argument) {
    long n = (long)argument;
    mine = tids[n] = gettid();
    CHECK_GT(mine, 0);
    CHECK_NE(mine, getpid());
    pthread_barrier_wait(&all);
    for (int k = 0; k < kThreads; k++) CHECK_EQ(tids[k] == mine, k == n);
    for (int i = 0; i < 10; i++) {
        move_about(4);
        CHECK_EQ(gettid(), mine);
        CHECK_EQ(syscall(SYS_gettid), mine);
        CHECK_EQ(syscall(SYS_getpid), getpid());
        if (i % 2)
            CHECK_EQ(tgkill(getpid(), mine, SIGUSR1), 0);
        else
            CHECK_EQ(syscall(SYS_tgkill, getpid(), mine, SIGUSR1), 0);
    }
    // To another thread, which is alive until the barrier.
    CHECK_EQ(tgkill(getpid(), tids[(n + 1) % kThreads], 0), 0);
    pthread_barrier_wait(&all);
    return NULL;
}

int main(void) {
    mine = gettid();
    CHECK_EQ(mine, getpid());
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = handler;
    CHECK_EQ(sigaction(SIGUSR1, &a, NULL), 0);
    CHECK_OK(pthread_barrier_init(&all, NULL, kThreads));
    pthread_t t[kThreads];
    for (long i = 0; i < kThreads; i++) t[i] = spawn(body, (void*)i);
    for (int i = 0; i < 10; i++) {
        move_about(2);
        CHECK_EQ(gettid(), getpid());
    }
    for (int i = 0; i < kThreads; i++) join(t[i]);
    CHECK_EQ(syscall(SYS_gettid), getpid());
    printf("handled %d\n", handled);
    return 0;
}
