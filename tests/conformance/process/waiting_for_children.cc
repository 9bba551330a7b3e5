// wait, waitpid, wait4 and waitid block in a thread while the others go on, and report codes,
// signals, stops and continues; WNOHANG and ECHILD as documented.
#include "../../support/twin.h"
#include <sys/resource.h>
#include <atomic>

static std::atomic<int> ticks;
static std::atomic<bool> stop;

static int line[2];

// The pair exists before the first fork and stays: a child that holds copies delays no end of file.
static void* ticker(void*) {
    unsigned char c = 0;
    while (!stop) {
        unsigned char sent = c;
        put(line[0], &c, 1);
        CHECK(take(line[0], &c, 1) == 1 && c == (unsigned char)(sent + 1));
        ticks++;
    }
    close(line[0]);
    return nullptr;
}

// A child that ends when told: a wait for it really has to wait.
static pid_t child_until(int go, int code, int sig) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        char c;
        take(go, &c, 1);
        if (sig) {
            signal(sig, SIG_DFL);
            raise(sig);
        }
        _exit(code);
    }
    return pid;
}

struct Waiter {
    int kind;
    pid_t pid;
    int code, sig;
};

static void* wait_one(void* arg) {
    Waiter* w = (Waiter*)arg;
    int status = 0;
    rusage usage;
    siginfo_t info = {};
    switch (w->kind) {
        case 0:
            CHECK(waitpid(w->pid, &status, 0) == w->pid);
            break;
        case 1:
            CHECK(wait4(w->pid, &status, 0, &usage) == w->pid);
            CHECK(usage.ru_maxrss > 0);
            break;
        case 2:
            CHECK(waitid(P_PID, (id_t)w->pid, &info, WEXITED) == 0 && info.si_pid == w->pid);
            w->code = info.si_code == CLD_EXITED ? info.si_status : 0;
            w->sig = info.si_code == CLD_KILLED ? info.si_status : 0;
            return nullptr;
    }
    w->code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    w->sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return nullptr;
}

int main() {
    unix_pair(line);
    pthread_t answers = start(twin_ponger, (void*)(intptr_t)line[1]);
    pthread_t busy = start(ticker, nullptr);
    int right = 0;
    for (int round = 0; round < 4; round++) {
        int go[2];
        CHECK(pipe2(go, O_CLOEXEC) == 0);
        Waiter w[6];
        pthread_t t[6];
        for (int i = 0; i < 6; i++) {
            w[i].kind = i % 3;
            w[i].pid = child_until(go[0], i < 3 ? 20 + i : 0, i < 3 ? 0 : SIGTERM);
        }
        for (int i = 0; i < 6; i++) t[i] = start(wait_one, &w[i]);
        int before = ticks;
        while (ticks < before + 20) nap(1);  // The others really go on meanwhile.
        CHECK(waitpid(w[0].pid, nullptr, WNOHANG) == 0);
        put(go[1], "gogogo", 6);
        for (int i = 0; i < 6; i++) {
            finish(t[i]);
            right += i < 3 ? w[i].code == 20 + i && !w[i].sig : w[i].sig == SIGTERM;
        }
        close(go[0]);
        close(go[1]);
    }
    int go[2], status;
    CHECK(pipe(go) == 0);
    pid_t pid = child_until(go[0], 3, 0);
    kill(pid, SIGSTOP);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    kill(pid, SIGCONT);
    CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    put(go[1], "g", 1);
    CHECK(wait(&status) == pid && exited_with(status, 3));
    CHECK(wait(nullptr) == -1 && errno == ECHILD);
    stop = true;
    finish(busy);
    finish(answers);
    printf("%d of 24 children reported right\n", right);
    return right != 24;
}
