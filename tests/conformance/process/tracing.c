// ptrace(2) by one thread while others run: seize, interrupt, registers, signals and the end of the
// traced process; a child that asks to be traced and has threads.
// limit: 20
// expect: fibers>=2 native_fallbacks=0
#include "../../support/twin.h"
#include <sys/ptrace.h>
#include <sys/user.h>

static int fds[2];

static void* counter(void* arg) {
    long n = 0;
    char c;
    while (take(fds[0], &c, 1) == 1) n++;
    return arg == NULL ? (void*)n : NULL;
}

static void* tracer(void* arg) {
    pid_t child = (pid_t)(intptr_t)arg;
    int status;
    struct user_regs_struct registers;
    CHECK(ptrace(PTRACE_SEIZE, child, 0, 0) == 0);
    for (int i = 0; i < 20; i++) {
        CHECK(ptrace(PTRACE_INTERRUPT, child, 0, 0) == 0);
        CHECK(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
        nap(1);
        CHECK(ptrace(PTRACE_GETREGS, child, 0, &registers) == 0);
        CHECK(ptrace(PTRACE_CONT, child, 0, 0) == 0);
    }
    CHECK(kill(child, SIGUSR1) == 0);
    CHECK(waitpid(child, &status, 0) == child && WSTOPSIG(status) == SIGUSR1);
    nap(1);
    CHECK(ptrace(PTRACE_CONT, child, 0, SIGTERM) == 0);
    printf("traced to its end: %#x\n", reap(child));
    return NULL;
}

int main(void) {
    CHECK(pipe(fds) == 0);
    pthread_t t = start(counter, NULL);
    pid_t child = fork();
    if (child == 0)
        for (;;) pause();
    finish(start(tracer, (void*)(intptr_t)child));
    put(fds[1], "abc", 3);
    close(fds[1]);
    printf("%ld bytes beside it\n", (long)finish(t));
    child = fork();
    if (child == 0) {
        CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
        raise(SIGSTOP);
        _exit(pingpong(2, 3) == 6 ? 3 : 4);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    printf("stopped: %#x\n", status);
    CHECK(ptrace(PTRACE_CONT, child, 0, 0) == 0);
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status))
        ptrace(PTRACE_CONT, child, 0, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
    printf("traced child with threads: %#x\n", status);
    return 0;
}
