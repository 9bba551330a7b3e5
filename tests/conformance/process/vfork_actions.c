// The signal actions and the mask that a child of vfork sets before it execs are its own.
// expect: fibers>=1 native_fallbacks=0
#include "../../support/twin.h"

static volatile sig_atomic_t handled;

static void note(int signal) { handled = handled * 10 + (signal == SIGUSR1 ? 1 : 2); }

static void* spawns(void* arg) {
    char* const words[] = {"sh", "-c", "exit 7", NULL};
    pid_t child = vfork();
    if (child == 0) {
        struct sigaction by_default = {.sa_handler = SIG_DFL}, before;
        for (int signal = 1; signal < 32; signal++)
            if (sigaction(signal, NULL, &before) == 0 && before.sa_handler != SIG_DFL)
                sigaction(signal, &by_default, NULL);
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        signal(SIGUSR2, SIG_IGN);
        execv("/bin/sh", words);
        _exit(1);
    }
    CHECK(child > 0 && exited_with(reap(child), 7));
    return arg;
}

int main(void) {
    CHECK(signal(SIGUSR1, note) == SIG_DFL && signal(SIGUSR2, note) == SIG_DFL);
    finish(start(spawns, NULL));
    spawns(NULL);
    struct sigaction now;
    CHECK(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == note);
    CHECK(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == note);
    CHECK(kill(getpid(), SIGUSR1) == 0 && kill(getpid(), SIGUSR2) == 0);
    while (handled < 10) usleep(1000);
    printf("handled %d\n", (int)handled);
    return 0;
}
