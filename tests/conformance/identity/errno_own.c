// expect: fibers>=12
// errno and h_errno belong to the thread: each keeps its own through yields, sleeps, hand-overs,
// pipes and signal handlers, and its address never changes.
#include <netdb.h>
#include <signal.h>

#include "switching.h"

enum { kThreads = 12, kRounds = 60 };
static int verified;

static void handler(int sig) {
    (void)sig;
    int saved = errno;
    errno = EXDEV;
    sched_yield();
    errno = saved;
}

static void* body(void* n) {
    int mine = 200 + (int)(long)n;
    int* where = &errno;
    for (int i = 0; i < kRounds; i++) {
        errno = mine;
        h_errno = mine + 1;
        move_about(4);
        if (i % 10 == 0) CHECK_EQ(raise(SIGUSR1), 0);
        CHECK_EQ(errno, mine);
        CHECK_EQ(h_errno, mine + 1);
        CHECK_EQ(&errno, where);
        // A failing call sets the caller's errno and nobody else's.
        CHECK_ERRNO(close(-1), EBADF);
        sched_yield();
        CHECK_EQ(errno, EBADF);
        bump(&verified);
    }
    return NULL;
}

int main(void) {
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = handler;
    CHECK_EQ(sigaction(SIGUSR1, &a, NULL), 0);
    int* where = &errno;
    pthread_t t[kThreads];
    for (long i = 0; i < kThreads; i++) t[i] = spawn(body, (void*)i);
    for (int i = 0; i < kThreads; i++) join(t[i]);
    CHECK_EQ(&errno, where);
    printf("verified %d\n", verified);
    return 0;
}
