// SIGQUIT at its default: a process that sends it to itself, in whatever way, does not go on, and a
// child that made no thread ends by it too.
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../../support/check.h"

static void* nothing(void* argument) { return argument; }

static void nobody(void) {}
static void by_raise(void) { raise(SIGQUIT); }
static void by_kill(void) { kill(getpid(), SIGQUIT); }
static void by_group(void) {
    setpgid(0, 0);
    kill(0, SIGQUIT);
}
static void by_group_id(void) {
    setpgid(0, 0);
    kill(-getpid(), SIGQUIT);
}
static void by_queue(void) { sigqueue(getpid(), SIGQUIT, (union sigval){.sival_int = 1}); }
static void by_thread(void) { pthread_kill(pthread_self(), SIGQUIT); }
static void by_number(void) { syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGQUIT); }
static void by_unblocking(void) {
    sigset_t quit;
    sigemptyset(&quit);
    sigaddset(&quit, SIGQUIT);
    sigprocmask(SIG_BLOCK, &quit, NULL);
    kill(getpid(), SIGQUIT);
    sigprocmask(SIG_UNBLOCK, &quit, NULL);
}

static void with_threads(void (*send)(void)) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, nothing, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    send();
}

static void wait_for_death(const char* what, pid_t child) {
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    printf("%s: %s %d\n", what, WIFSIGNALED(status) ? "signal" : "exit",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    fflush(stdout);
}

int main(void) {
    const struct rlimit none = {0, 0};
    CHECK_EQ(setrlimit(RLIMIT_CORE, &none), 0);
    CHECK(signal(SIGQUIT, SIG_DFL) != SIG_ERR);
    with_threads(nobody);  // from here on main is a fiber
    static const struct {
        const char* name;
        void (*send)(void);
    } ways[] = {{"raise", by_raise},       {"kill", by_kill},           {"group", by_group},
                {"group id", by_group_id}, {"sigqueue", by_queue},      {"pthread_kill", by_thread},
                {"tgkill", by_number},     {"unblocked", by_unblocking}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        for (int threads = 0; threads < 2; threads++) {
            const pid_t child = fork();
            if (child == 0) {
                threads ? with_threads(ways[i].send) : ways[i].send();
                _exit(3);
            }
            wait_for_death(ways[i].name, child);
        }
    int ready[2];
    CHECK_EQ(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        CHECK_EQ(write(ready[1], "x", 1), 1);
        for (;;) pause();
    }
    char byte;
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    CHECK_EQ(kill(child, SIGQUIT), 0);
    wait_for_death("from its parent", child);
    return 0;
}
