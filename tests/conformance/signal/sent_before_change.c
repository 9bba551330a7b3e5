// A signal that was sent before the disposition changes belongs to the old one: another process
// sends it, then says so; the thread that may take it has run the handler before it hears that.
// limit: 40
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { kRounds = 500, kThreads = 4 };

static atomic_int handled;
static pthread_barrier_t begin;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void on_signal(int signal) {
    (void)signal;
    handled++;
}

static void* waits(void* unused) {
    pthread_barrier_wait(&begin);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return unused;
}

static void send_on_request(int requests, int replies) {
    char byte;
    while (read(requests, &byte, 1) == 1) {
        if (kill(getppid(), SIGUSR1) != 0 || write(replies, &byte, 1) != 1) _exit(1);
    }
    _exit(0);
}

int main(void) {
    int requests[2], replies[2];
    CHECK(pipe(requests) == 0 && pipe(replies) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(requests[1]);
        send_on_request(requests[0], replies[1]);
    }
    // Others block it: it is main's.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_barrier_init(&begin, NULL, kThreads + 1);
    pthread_mutex_lock(&gate);
    pthread_t threads[kThreads];
    for (int i = 0; i < kThreads; i++) CHECK(pthread_create(&threads[i], NULL, waits, NULL) == 0);
    pthread_barrier_wait(&begin);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);

    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (int i = 0; i < kRounds; i++) {
        char byte = 0;
        sigaction(SIGUSR1, &action, NULL);
        CHECK(write(requests[1], &byte, 1) == 1);
        CHECK(read(replies[0], &byte, 1) == 1);
        signal(SIGUSR1, i % 2 == 0 ? SIG_DFL : SIG_IGN);
        CHECK(handled == i + 1);
    }
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
    close(requests[1]);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    printf("handled %d\n", handled);
    return 0;
}
