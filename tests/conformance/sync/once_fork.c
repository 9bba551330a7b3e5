// pthread_once across fork: an initialiser that another thread was running is run again in the
// child, one that was finished is not, one that forks itself is finished in both processes.
// expect: fibers>=1
#include <sys/wait.h>

#include "switching.h"

static pthread_once_t running = PTHREAD_ONCE_INIT, finished = PTHREAD_ONCE_INIT,
                      forking = PTHREAD_ONCE_INIT;
static int runs, started, may_end;
static pid_t child;

static void is_slow(void) {
    runs++;
    bump(&started);
    if (runs == 1) wait_for(&may_end, 1);
}
static void is_quick(void) { runs += 100; }
static void forks(void) {
    fflush(stdout);
    child = fork();
    CHECK_GE(child, 0);
    runs += 1000;
}
static void* calls(void* once) {
    CHECK_OK(pthread_once(once, is_slow));
    return NULL;
}
static int status_of(pid_t pid) {
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

int main(void) {
    CHECK_OK(pthread_once(&finished, is_quick));
    CHECK_EQ(runs, 100);
    runs = 0;
    pthread_t t = spawn(calls, &running);
    wait_for(&started, 1);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (pid == 0) {
        // The first from a thread, so that whatever runs threads has started again.
        join(spawn(calls, &running));
        CHECK_OK(pthread_once(&running, is_quick));
        CHECK_OK(pthread_once(&finished, is_quick));
        _exit(runs);
    }
    int in_child = status_of(pid);
    bump(&may_end);
    join(t);
    CHECK_OK(pthread_once(&running, is_quick));
    printf("child %d, parent %d\n", in_child, runs);

    runs = 0;
    CHECK_OK(pthread_once(&forking, forks));
    CHECK_OK(pthread_once(&forking, forks));
    CHECK_EQ(runs, 1000);
    if (child == 0) {
        CHECK_OK(pthread_once(&forking, forks));
        _exit(runs == 1000 ? 5 : 6);
    }
    printf("forking %d\n", status_of(child));
    return 0;
}
