// system() and the waits for children: handlers of signals directed at the thread run while it
// waits, cancellation ends it, kills and reaps the shell, and the dispositions and later calls are
// as before (libc leaves SIGCHLD blocked in the cancelled thread).  pclose is no cancellation
// point, but handlers run in it.
//
// limit: 40
// expect: fibers>=7 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static std::atomic<int> handled;
static std::atomic<pthread_t> in_handler;
static sem_t from_handler;

static void handler(int) {
    in_handler = pthread_self();
    handled++;
    sem_post(&from_handler);
}
static void interrupt(int) {}

static const char* disposition(int signal) {
    struct sigaction a;
    CHECK(sigaction(signal, nullptr, &a) == 0);
    return a.sa_handler == interrupt ? "handler" : a.sa_handler == SIG_IGN ? "ignored" : "other";
}

static int fds[2];  // the shell's end: its death is seen at the other
static char command[200];

struct Watch {
    ~Watch() { printf("  unwound: int %s, quit %s\n", disposition(SIGINT), disposition(SIGQUIT)); }
};

static void* shell(void*) {
    Watch watch;
    const int status = system(command);
    printf("  status %x\n", status);
    return nullptr;
}
static void* closes(void*) {
    FILE* f = popen(command, "r");
    CHECK(f != nullptr);
    const int status = pclose(f);
    printf("  status %x\n", status);
    pthread_testcancel();
    return nullptr;
}
static pid_t child;
static void* waits(void*) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && exited_with(status, 5));
    return nullptr;
}

static void run(const char* name, void* (*body)(void*), bool cancel) {
    int go[2];
    CHECK(pipe2(fds, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
    // Says that it runs, then waits for a byte.
    snprintf(command, sizeof command, "echo >&%d; exec head -c1 <&%d >/dev/null", 8, 9);
    CHECK(dup2(fds[1], 8) == 8 && dup2(go[0], 9) == 9);
    close(fds[1]);
    close(go[0]);
    if (body == waits) {
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            put(8, "x", 1);
            char c;
            close(go[1]);
            close(8);
            take(9, &c, 1);
            _exit(5);
        }
    }
    const int before = handled;
    pthread_t t = start(body, nullptr);
    char c;
    CHECK(take(fds[0], &c, 1) == 1);
    close(8);
    close(9);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_kill(t, SIGUSR1) == 0);
        wait_sem(&from_handler);
        CHECK(in_handler == t);
    }
    if (cancel) CHECK(pthread_cancel(t) == 0);
    if (!cancel || body != shell) nap(5), close(go[1]);
    const void* result = finish(t);
    // The shell is gone: its end of the pipe is closed.
    CHECK(read(fds[0], &c, 1) == 0);
    close(fds[0]);
    if (cancel && body == shell) close(go[1]);
    printf("%s: %d handled, %s; int %s, quit %s, children %s\n", name, handled - before,
           result == PTHREAD_CANCELED ? "cancelled" : "ended", disposition(SIGINT),
           disposition(SIGQUIT), waitpid(-1, nullptr, WNOHANG) == -1 ? "none" : "LEFT");
    fflush(stdout);
}

int main() {
    setvbuf(stdout, nullptr, _IOLBF, 0);
    CHECK(sem_init(&from_handler, 0, 0) == 0);
    struct sigaction a = {};
    a.sa_handler = interrupt;
    CHECK(sigaction(SIGINT, &a, nullptr) == 0 && sigaction(SIGQUIT, &a, nullptr) == 0);
    a.sa_handler = handler;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
    run("system", shell, false);
    run("system cancelled", shell, true);
    run("system again", shell, false);
    run("pclose", closes, false);
    run("pclose and cancel", closes, true);
    a.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
    run("waitpid", waits, false);
    pthread_t t = start(
        [](void*) -> void* {
            CHECK(system(nullptr) == 1);
            CHECK(exited_with(system("exit 3"), 3));
            CHECK(WTERMSIG(system("kill -9 $$")) == 9);
            // What the shell starts with: the caller's mask and dispositions.
            CHECK(system("kill -INT $$; exit 4") != 4 << 8);
            signal(SIGINT, SIG_IGN);
            CHECK(exited_with(system("kill -INT $$; exit 4"), 4));
            signal(SIGCHLD, SIG_IGN);
            CHECK(system("exit 3") == -1 && errno == ECHILD);
            return nullptr;
        },
        nullptr);
    finish(t);
    puts("statuses");
    return 0;
}
