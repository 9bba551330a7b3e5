// _Fork and fork in a process that never made a thread: the child has its own id, may wait in a
// read, fork again and make threads; and once more from a thread.
// expect: forks>=2
#include <sys/wait.h>

#include "switching.h"

static pid_t (*const kForks[])(void) = {_Fork, fork};
static int ends[2];

static void* reads(void* unused) {
    char byte = 0;
    CHECK_EQ(read(ends[0], &byte, 1), 1);
    CHECK_EQ(byte, 'x');
    return unused;
}

static int status_of(pid_t child) {
    int status;
    CHECK_GT(child, 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int child_of(int way, pid_t parent) {
    CHECK_EQ(getppid(), parent);
    CHECK_EQ(gettid(), getpid());
    reads(NULL);
    pid_t grandchild = kForks[1 - way]();
    if (grandchild == 0) {
        reads(NULL);
        _exit(7);
    }
    CHECK_EQ(status_of(grandchild), 7);
    join(spawn(reads, NULL));
    return 5;
}

static void* forks(void* unused) {
    for (int way = 0; way < 2; way++) {
        CHECK_EQ(write(ends[1], "xxx", 3), 3);
        const pid_t parent = getpid(), child = kForks[way]();
        if (child == 0) _exit(child_of(way, parent));
        printf("%s %d\n", way == 0 ? "_Fork" : "fork", status_of(child));
    }
    return unused;
}

int main(void) {
    CHECK_EQ(pipe(ends), 0);
    forks(NULL);
    join(spawn(forks, NULL));
    return 0;
}
