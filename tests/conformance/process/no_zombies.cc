// Children of a process that does not want them as zombies (SA_NOCLDWAIT): a wait ends with ECHILD
// when the last is gone, not with EINTR, though SIGCHLD's handler runs and asks for no restart.
// Where they do become zombies, the wait gives the child, whatever the handler did, and WNOWAIT
// leaves it there.
// expect: fibers>=1
#include <signal.h>
#include <sys/wait.h>

#include "switching.h"

namespace {

int handled;

void on_child(int) { bump(&handled); }

void handle(int flags) {
    struct sigaction action {};
    action.sa_handler = on_child;
    action.sa_flags = flags;
    CHECK_EQ(sigaction(SIGCHLD, &action, nullptr), 0);
}

pid_t child(int status) {
    const pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (pid == 0) _exit(status);
    return pid;
}

void* waits(void*) {
    long ended = 0;
    for (int i = 0; i < 30; i++) {
        handle(SA_NOCLDWAIT);
        const pid_t gone = child(1);
        errno = 0;
        CHECK_EQ(waitpid(gone, nullptr, 0), -1);
        CHECK_EQ(errno, ECHILD);
        handle(0);
        const pid_t kept = child(i);
        int status = 0;
        CHECK_EQ(waitpid(kept, &status, 0), kept);
        CHECK_EQ(WEXITSTATUS(status), i);
        const pid_t seen = child(i);
        siginfo_t info;
        CHECK_EQ(waitid(P_PID, static_cast<id_t>(seen), &info, WEXITED | WNOWAIT), 0);
        CHECK_EQ(waitid(P_PID, static_cast<id_t>(seen), &info, WEXITED), 0);
        CHECK(info.si_pid == seen && info.si_status == i && info.si_code == CLD_EXITED);
        ended += 3;
    }
    return reinterpret_cast<void*>(ended);
}

}  // namespace

int main() {
    const long first = reinterpret_cast<long>(join(spawn(waits, nullptr)));
    const long second = reinterpret_cast<long>(waits(nullptr));
    CHECK_GE(handled, 1);
    printf("ended %ld and %ld\n", first, second);
    return 0;
}
