// The last thread of a process whose main has ended runs the exit handlers, and signals reach it
// there: a default action ends the process, a handler runs before kill and raise return, a blocked
// one stays pending.
// expect: no-stats
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "switching.h"

enum { kDefault, kHandled, kRaised, kBlocked, kCases };
static int which, handled;
static pthread_t main_thread;

static void on_signal(int signal) { handled += signal == SIGUSR1; }

static void at_exit(void) {
    sigset_t set;
    switch (which) {
        case kRaised:
            raise(SIGUSR1);
            break;
        case kBlocked:
            CHECK_EQ(sigemptyset(&set) | sigaddset(&set, SIGUSR1), 0);
            CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
            CHECK_EQ(kill(getpid(), SIGUSR1), 0);
            CHECK_EQ(handled, 0);
            CHECK_EQ(sigpending(&set), 0);
            _exit(20 + sigismember(&set, SIGUSR1));
        default:
            CHECK_EQ(kill(getpid(), SIGUSR1), 0);
    }
    _exit(10 + handled);
}

static void* last(void* unused) {
    CHECK_OK(pthread_join(main_thread, NULL));
    return unused;
}

static void child(void) {
    CHECK_EQ(atexit(at_exit), 0);
    if (which != kDefault) CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    main_thread = pthread_self();
    CHECK_OK(pthread_detach(spawn(last, NULL)));
}

int main(void) {
    for (which = 0; which < kCases; which++) {
        int status;
        const pid_t pid = fork();
        if (pid == 0) {
            child();
            pthread_exit(NULL);
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        printf("case %d: signal %d status %d\n", which, WIFSIGNALED(status) ? WTERMSIG(status) : 0,
               WIFEXITED(status) ? WEXITSTATUS(status) : 0);
    }
    return 0;
}
