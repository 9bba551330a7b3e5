// A new program has the mask of the thread that executes it, in every spelling, whatever the other
// threads block and however often they change it.
#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>

#include <atomic>

#include "../../support/twin.h"

static char self[4096];
static char* const words[] = {self, const_cast<char*>("told"), nullptr};
static std::atomic<bool> stop;

static void tell() {
    sigset_t mask;
    CHECK_OK(pthread_sigmask(SIG_BLOCK, nullptr, &mask));
    for (int signal : {SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD})
        fputs(sigismember(&mask, signal) ? " yes" : " no", stdout);
    puts("");
}

// Whatever all threads block changes with each call.
static void* flips(void*) {
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGUSR2);
    for (int i = 0; !stop; i++) {
        CHECK_OK(pthread_sigmask(i % 2 == 0 ? SIG_BLOCK : SIG_UNBLOCK, &both, nullptr));
        CHECK(sched_yield() == 0);
    }
    return nullptr;
}

static void block_only(int first, int second) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, first);
    sigaddset(&mask, second);
    CHECK_OK(pthread_sigmask(SIG_SETMASK, &mask, nullptr));
}

static const struct {
    const char* name;
    void (*run)();
} spellings[] = {
    {"execv", [] { execv(self, words); }},
    {"execve", [] { execve(self, words, environ); }},
    {"execl", [] { execl(self, self, words[1], nullptr); }},
    {"execvp", [] { execvp(self, words); }},
    {"fexecve", [] { fexecve(open(self, O_RDONLY | O_CLOEXEC), words, environ); }},
    {"execveat", [] { execveat(AT_FDCWD, self, words, environ, 0); }},
    {"by number", [] { syscall(SYS_execve, self, words, environ); }},
    {"execveat by number", [] { syscall(SYS_execveat, AT_FDCWD, self, words, environ, 0); }},
};

static void announce(const char* name) {
    fputs(name, stdout);
    fflush(stdout);
}

// In a child with threads of its own, one of which replaces it.
static void replaced(const char* name, void (*run)(), bool is_main) {
    announce(name);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        static void (*chosen)();
        chosen = run;
        start(flips, nullptr);
        const auto execute = [](void*) -> void* {
            block_only(SIGUSR2, SIGALRM);
            chosen();
            CHECK(!"executed");
            return nullptr;
        };
        if (is_main) execute(nullptr);
        finish(start(execute, nullptr));
    }
    CHECK(exited_with(reap(child), 0));
}

// Beside the threads of this process.
static void* spawned(void*) {
    block_only(SIGUSR1, SIGCHLD);
    pid_t child = 0;
    announce("posix_spawn");
    CHECK(posix_spawn(&child, self, nullptr, nullptr, words, environ) == 0);
    CHECK(exited_with(reap(child), 0));
    announce("posix_spawnp");
    CHECK(posix_spawnp(&child, self, nullptr, nullptr, words, environ) == 0);
    CHECK(exited_with(reap(child), 0));
    announce("vfork");
    child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        execve(self, words, environ);
        _exit(3);
    }
    CHECK(exited_with(reap(child), 0));
    announce("popen");
    FILE* shell = popen("kill -USR1 $$; kill -CHLD $$; echo ' lives'", "w");
    CHECK(shell != nullptr && pclose(shell) == 0);
    announce("afterwards");
    tell();
    return nullptr;
}

int main(int argc, char**) {
    if (argc == 2) {
        tell();
        return 0;
    }
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    for (const auto& spelling : spellings) replaced(spelling.name, spelling.run, true);
    replaced("execve in a thread", spellings[1].run, false);
    const pthread_t flipping = start(flips, nullptr);
    finish(start(spawned, nullptr));
    stop = true;
    finish(flipping);
    return 0;
}
