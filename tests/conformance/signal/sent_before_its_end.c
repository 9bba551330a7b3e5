// What a child sent before it ended, and SIGCHLD itself, are handled when wait has told of the end,
// also beside a thread that computes and some that sleep.
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { kRounds = 60 };

static atomic_int sent, ended;
static atomic_int stop;

static void on_signal(int signal) { atomic_fetch_add(signal == SIGCHLD ? &ended : &sent, 1); }

static void* compute(void* unused) {
    while (!stop) {
    }
    return unused;
}
static void* sleeps(void* unused) {
    while (!stop) usleep(1000);
    return unused;
}

static pid_t wait_by(int how, pid_t child) {
    siginfo_t info;
    switch (how) {
        case 0:
            return waitpid(child, NULL, 0);
        case 1:
            return waitid(P_PID, (id_t)child, &info, WEXITED) == 0 ? info.si_pid : -1;
        default:
            while (waitpid(child, NULL, WNOHANG) == 0) sched_yield();
            return child;
    }
}

int main(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
    // Others block them: they are main's.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_t threads[3];
    CHECK(pthread_create(&threads[0], NULL, compute, NULL) == 0);
    CHECK(pthread_create(&threads[1], NULL, sleeps, NULL) == 0);
    CHECK(pthread_create(&threads[2], NULL, sleeps, NULL) == 0);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    for (int i = 0; i < kRounds; i++) {
        if (i == kRounds / 2) {
            stop = 1;
            pthread_join(threads[0], NULL);
        }
        const pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            kill(getppid(), SIGUSR1);
            _exit(0);
        }
        CHECK(wait_by(i % 3, child) == child);
        CHECK(sent == i + 1 && ended == i + 1);
    }
    pthread_join(threads[1], NULL);
    pthread_join(threads[2], NULL);
    printf("sent %d, ended %d\n", sent, ended);
    return 0;
}
