// A SIGCHLD handler with a waitpid loop reaps children made by several threads; SIGPIPE comes to
// the thread that wrote, its error is EPIPE when ignored or blocked, MSG_NOSIGNAL avoids it.
// expect: fibers>=5 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static std::atomic<int> reaped, code_sum, piped, piped_elsewhere;
static __thread bool writes;
static void on_child(int) {
    int saved = errno, status;
    while (waitpid(-1, &status, WNOHANG) > 0) {
        code_sum += WEXITSTATUS(status);
        reaped++;
    }
    errno = saved;
}
static void on_pipe(int) {
    piped++;
    if (!writes) piped_elsewhere++;
}
static void* forks(void* arg) {
    for (int i = 0; i < 10; i++) {
        pid_t p = fork();
        CHECK(p >= 0);
        if (p == 0) _exit((int)(intptr_t)arg);
        if (i % 3 == 0) nap(1);
    }
    return nullptr;
}
static void* writer(void*) {
    writes = true;
    int fds[2];
    for (int i = 0; i < 5; i++) {
        CHECK(pipe(fds) == 0);
        close(fds[0]);
        CHECK(write(fds[1], "x", 1) == -1 && errno == EPIPE);
        close(fds[1]);
        unix_pair(fds);
        close(fds[0]);
        CHECK(send(fds[1], "x", 1, 0) == -1 && errno == EPIPE);
        CHECK(send(fds[1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
        close(fds[1]);
    }
    CHECK(piped == 10);
    sigset_t s, p;
    sigemptyset(&s);
    sigaddset(&s, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &s, nullptr);
    CHECK(pipe(fds) == 0);
    close(fds[0]);
    CHECK(write(fds[1], "x", 1) == -1 && errno == EPIPE);
    close(fds[1]);
    timespec zero = {0, 0};
    CHECK(sigpending(&p) == 0 && sigismember(&p, SIGPIPE));
    CHECK(sigtimedwait(&s, nullptr, &zero) == SIGPIPE);
    return nullptr;
}

int main() {
    struct sigaction a = {};
    a.sa_handler = on_child;
    a.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    CHECK(sigaction(SIGCHLD, &a, nullptr) == 0);
    pthread_t t[4];
    for (int i = 0; i < 4; i++) t[i] = start(forks, (void*)(intptr_t)(i + 1));
    for (pthread_t one : t) finish(one);
    while (reaped < 40) nap(1);
    CHECK(waitpid(-1, nullptr, 0) == -1 && errno == ECHILD);
    printf("%d children reaped, codes %d\n", (int)reaped, (int)code_sum);
    CHECK(code_sum == 100);
    a.sa_handler = on_pipe;
    CHECK(sigaction(SIGPIPE, &a, nullptr) == 0);
    finish(start(writer, nullptr));
    CHECK(piped == 10 && piped_elsewhere == 0);
    // A death by SIGPIPE keeps its status.
    pid_t p = fork();
    CHECK(p >= 0);
    if (p == 0) {
        signal(SIGPIPE, SIG_DFL);
        finish(start(
            [](void*) -> void* {
                int fds[2];
                CHECK(pipe(fds) == 0);
                close(fds[0]);
                (void)!write(fds[1], "x", 1);
                return nullptr;
            },
            nullptr));
        _exit(0);
    }
    while (reaped < 41) nap(1);
    printf("%d broken pipes\n", (int)piped);
    return 0;
}
