// Children that libc makes in its inside, and those of clone: wordexp, _IO_popen, _IO_proc_open,
// clone with memory of its own, clone with shared memory and a waiting parent, each spelling; every
// spelling of the waits for them.  Another thread goes on meanwhile.
// expect: fibers>=2 native_fallbacks=0 handoffs>=12 forks=8 missed_blocking=0
#include "../../support/twin.h"

#include <dlfcn.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/ptrace.h>
#include <wordexp.h>

static volatile int turns;
static volatile bool done;
static void* goes_on(void*) {
    while (!done) {
        turns++;
        nap(1);
    }
    return nullptr;
}

static void words() {
    wordexp_t w;
    const int before = turns;
    CHECK_EQ(wordexp("$(sleep 0.05; echo one two) three", &w, 0), 0);
    CHECK_EQ((int)w.we_wordc, 3);
    printf("%s %s %s\n", w.we_wordv[0], w.we_wordv[1], w.we_wordv[2]);
    CHECK_GT(turns, before);
    wordfree(&w);
    CHECK_EQ(wordexp("$(echo no)", &w, WRDE_NOCMD), WRDE_CMDSUB);
    CHECK_EQ(wordexp("a | b", &w, 0), WRDE_BADCHAR);
}

static void streams() {
    using Open = FILE*(const char*, const char*);
    auto* open = (Open*)dlsym(RTLD_DEFAULT, "_IO_popen");
    CHECK(open != nullptr && dlsym(RTLD_DEFAULT, "_IO_proc_open") != nullptr);
    FILE* f = open("sleep 0.03; echo said; exit 3", "r");
    CHECK(f != nullptr);
    char line[16];
    CHECK(fgets(line, sizeof line, f) != nullptr);
    const int status = pclose(f);
    printf("%.4s %d\n", line, WEXITSTATUS(status));
    CHECK(open("true", "x") == nullptr && errno == EINVAL);
}

static int child(void* number) {
    // As after fork: it may make and wait for things of its own.
    int fds[2];
    if (pipe(fds) != 0 || write(fds[1], "x", 1) != 1) return 99;
    char c;
    nap(5);
    if (read(fds[0], &c, 1) != 1) return 98;
    return *(int*)number;
}
static volatile int shared;
static int writes(void* number) {
    shared = *(int*)number;
    return 0;
}

static void clones() {
    static char stack[65536] __attribute__((aligned(16)));
    using Clone = int(int (*)(void*), void*, int, void*, ...);
    const char* names[] = {"clone", "__clone"};
    const char* waits[] = {"__waitpid", "waitpid"};
    for (int i = 0; i < 2; i++) {
        auto* call = (Clone*)dlsym(RTLD_DEFAULT, names[i]);
        auto* wait_for = (pid_t(*)(pid_t, int*, int))dlsym(RTLD_DEFAULT, waits[i]);
        CHECK(call != nullptr && wait_for != nullptr);
        int number = 40 + i, status = 0;
        int pid = call(child, stack + sizeof stack, SIGCHLD, &number);
        CHECK(pid > 0 && wait_for(pid, &status, 0) == pid);
        printf("%s %d\n", names[i], WEXITSTATUS(status));
        pid = call(writes, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &number);
        CHECK(pid > 0 && shared == number && wait_for(pid, &status, 0) == pid && status == 0);
        errno = 0;
        CHECK(call(nullptr, stack, SIGCHLD, nullptr) == -1 && errno == EINVAL);
    }
    CHECK(clone(child, stack + sizeof stack, CLONE_THREAD, nullptr) == -1 && errno == EINVAL);
}

static pid_t ends_later(int status) {
    char text[40];
    snprintf(text, sizeof text, "sleep 0.03; exit %d", status);
    const pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", text, nullptr);
        _exit(99);
    }
    CHECK(pid > 0);
    return pid;
}
static void waits() {
    int status = 0;
    struct rusage usage;
    pid_t pid = ends_later(1);
    auto* spelled = (pid_t(*)(int*))dlsym(RTLD_DEFAULT, "__wait");
    CHECK(spelled != nullptr && spelled(&status) == pid);
    printf("__wait %d\n", WEXITSTATUS(status));
    pid = ends_later(2);
    CHECK(wait(&status) == pid);
    printf("wait %d\n", WEXITSTATUS(status));
    pid = ends_later(3);
    CHECK(wait3(&status, 0, &usage) == pid);
    printf("wait3 %d\n", WEXITSTATUS(status));
    pid = ends_later(4);
    CHECK(wait4(pid, &status, 0, &usage) == pid);
    printf("wait4 %d\n", WEXITSTATUS(status));
    pid = ends_later(5);
    siginfo_t info;
    CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED) == 0 && info.si_pid == pid);
    printf("waitid %d\n", info.si_status);
    CHECK_ERRNO(spelled(&status), ECHILD);
    CHECK_ERRNO(wait3(&status, 0, &usage), ECHILD);
    CHECK_ERRNO(wait4(1, &status, 0, &usage), ECHILD);
    CHECK_ERRNO(waitid(P_ALL, 0, &info, 0), EINVAL);
}

// The thread that attaches is the tracer, for all requests that follow.
static void traces() {
    static volatile long word = 42;
    const pid_t pid = fork();
    if (pid == 0) {
        while (word < 52) {
        }
        _exit((int)word);
    }
    int status;
    CHECK(pid > 0 && ptrace(PTRACE_ATTACH, pid, nullptr, nullptr) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    for (int i = 0; i < 10; i++) {
        errno = 0;
        CHECK_EQ(ptrace(PTRACE_PEEKDATA, pid, (void*)&word, nullptr), 42 + i);
        CHECK(errno == 0 && ptrace(PTRACE_POKEDATA, pid, (void*)&word, (void*)(43L + i)) == 0);
        sched_yield();
        nap(1);
    }
    CHECK(ptrace(PTRACE_DETACH, pid, nullptr, nullptr) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    printf("traced %d\n", WEXITSTATUS(status));
    CHECK_ERRNO(ptrace(PTRACE_DETACH, pid, nullptr, nullptr), ESRCH);
}

static void* all(void*) {
    words();
    streams();
    clones();
    waits();
    traces();
    return nullptr;
}

int main() {
    const pthread_t other = start(goes_on, nullptr);
    finish(start(all, nullptr));
    done = true;
    finish(other);
    return 0;
}
