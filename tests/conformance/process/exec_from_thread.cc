// exec in a thread (not main) replaces the whole process: same pid, other threads gone, exit
// status of the new image; blocking descriptors are inherited as blocking, close-on-exec ones are
// gone.
#include "../../support/twin.h"

static int fds[2], hidden[2];

static void* blocked(void*) {
    char c;
    while (read(fds[0], &c, 1) == 1) {
    }
    return nullptr;
}

static void* executes(void*) {
    char self[4096] = "", pid[16], a[16], b[16], h[16];
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    snprintf(pid, sizeof pid, "%d", getpid());
    snprintf(a, sizeof a, "%d", fds[0]);
    snprintf(b, sizeof b, "%d", fds[1]);
    snprintf(h, sizeof h, "%d", hidden[0]);
    // The new program has this thread's mask, not another's.
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, nullptr));
    execl(self, self, pid, a, b, h, nullptr);
    CHECK(!"exec failed");
    return nullptr;
}

int main(int argc, char** argv) {
    if (argc == 5) {
        int a = atoi(argv[2]), b = atoi(argv[3]);
        CHECK(getpid() == atoi(argv[1]) && gettid() == getpid());
        sigset_t mask;
        CHECK(pthread_sigmask(SIG_BLOCK, nullptr, &mask) == 0);
        CHECK(sigismember(&mask, SIGUSR2) && !sigismember(&mask, SIGUSR1));
        CHECK((fcntl(a, F_GETFL) & O_NONBLOCK) == 0 && (fcntl(b, F_GETFL) & O_NONBLOCK) == 0);
        CHECK(fcntl(atoi(argv[4]), F_GETFD) == -1 && errno == EBADF);
        pthread_t t = start(twin_ponger, (void*)(intptr_t)a);
        close(b);
        finish(t);
        CHECK(pingpong(3, 5) == 15);
        return 44;
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
        CHECK(pipe2(hidden, O_CLOEXEC) == 0);
        for (int i = 0; i < 4; i++) start(blocked, nullptr);
        nap(10);
        finish(start(executes, nullptr));
    }
    int status = reap(child);
    printf("executed image ended with %d\n", WEXITSTATUS(status));
    return !exited_with(status, 44);
}
