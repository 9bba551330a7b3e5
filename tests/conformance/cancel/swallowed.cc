// A catch (...) that does not rethrow a cancellation ends the process with SIGABRT, as glibc says;
// so does one that leaves a noexcept function.  Ordinary exceptions thrown and caught by handlers
// while a cancellation unwinds are harmless.
#include "../../support/twin.h"
#include <sys/resource.h>

static void wait_here() {
    while (true) pause();
}
static void* swallows(void*) {
    try {
        wait_here();
    } catch (...) {
    }
    return nullptr;
}
static void no_exceptions() noexcept { wait_here(); }
static void* leaves_noexcept(void*) {
    no_exceptions();
    return nullptr;
}
struct Throws {
    ~Throws() {
        try {
            throw 5;
        } catch (int v) {
            caught += v;
        }
    }
    static int caught;
};
int Throws::caught;
static void* harmless(void*) {
    Throws a;
    wait_here();
    return nullptr;
}

static int signal_of(void* (*body)(void*)) {
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        dup2(open("/dev/null", O_WRONLY), 2);
        pthread_t t = start(body, nullptr);
        nap(10);
        pthread_cancel(t);
        pthread_join(t, nullptr);
        _exit(0);
    }
    int status = reap(pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

int main() {
    printf("swallowed: signal %d\n", signal_of(swallows));
    printf("noexcept: signal %d\n", signal_of(leaves_noexcept));
    pthread_t t = start(harmless, nullptr);
    nap(10);
    CHECK(pthread_cancel(t) == 0 && finish(t) == PTHREAD_CANCELED);
    printf("caught %d while unwinding\n", Throws::caught);
    return 0;
}
