// A signal to the process is main's when main lets it through (the kernel asks the first thread
// first), also when a hundred threads end before main has its turn: EINTR is main's.
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { kRounds = 20, kThreads = 100 };

static pthread_t first;
static atomic_int by_main, by_others;
static pthread_barrier_t started;  // a thread that starts opens its mask, and may take it natively

static void on_signal(int signal) {
    (void)signal;
    atomic_fetch_add(pthread_equal(pthread_self(), first) ? &by_main : &by_others, 1);
}

static void* serve(void* descriptor) {
    char byte;
    const int fd = (int)(intptr_t)descriptor;
    pthread_barrier_wait(&started);
    while (read(fd, &byte, 1) > 0) {
    }
    for (int i = 0; i < 5; i++) sched_yield();
    close(fd);
    return NULL;
}

// The other ends, of which the first half closes before the signal.
static void end_them(const int* ends) {
    for (int i = 0; i < kThreads; i++) {
        if (i == kThreads / 2) kill(getppid(), SIGUSR1);
        close(ends[i]);
    }
}

static void one_round(int round) {
    pthread_t threads[kThreads];
    int ours[kThreads], theirs[kThreads], pair[2];
    for (int i = 0; i < kThreads; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        ours[i] = pair[0];
        theirs[i] = pair[1];
    }
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int i = 0; i < kThreads; i++) close(ours[i]);
        char byte;
        (void)!read(theirs[kThreads - 1], &byte, 1);
        end_them(theirs);
        _exit(0);
    }
    for (int i = 0; i < kThreads; i++) {
        close(theirs[i]);
        CHECK(pthread_create(&threads[i], NULL, serve, (void*)(intptr_t)ours[i]) == 0);
    }
    pthread_barrier_wait(&started);
    CHECK(write(ours[kThreads - 1], "g", 1) == 1);
    while (by_main + by_others == round) usleep(100000);
    for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
    int status = 0;
    while (waitpid(child, &status, 0) != child) {
    }
    CHECK(status == 0 && by_main + by_others == round + 1);
}

int main(void) {
    first = pthread_self();
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    pthread_barrier_init(&started, NULL, kThreads + 1);
    for (int i = 0; i < kRounds; i++) one_round(i);
    printf("by main %d, by others %d\n", by_main, by_others);
    return 0;
}
