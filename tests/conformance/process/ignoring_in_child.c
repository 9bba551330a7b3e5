// A child of a program with threads ignores signals before it makes any thread of its own, as
// daemons do, with some of them pending and sent to it.
// expect: fibers>=1 native_fallbacks=0
#include "../../support/twin.h"

static void* same(void* arg) { return arg; }

int main(void) {
    finish(start(same, NULL));
    for (int round = 0; round < 2; round++) {
        pid_t child = fork();
        if (child == 0) {
            sigset_t all, pending;
            sigfillset(&all);
            CHECK(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
            CHECK(raise(SIGUSR1) == 0 && kill(getpid(), SIGUSR2) == 0);
            if (round == 1) CHECK(finish(start(same, (void*)5)) == (void*)5);
            for (int s = 1; s < 32; s++)
                if (s != SIGKILL && s != SIGSTOP && s != SIGCHLD)
                    CHECK(signal(s, SIG_IGN) != SIG_ERR);
            CHECK(sigpending(&pending) == 0);
            int left = sigismember(&pending, SIGUSR1) + sigismember(&pending, SIGUSR2);
            CHECK(sigprocmask(SIG_UNBLOCK, &all, NULL) == 0);
            CHECK(kill(getpid(), SIGTERM) == 0);
            _exit(20 + left);
        }
        printf("status %#x\n", reap(child));
    }
    return 0;
}
