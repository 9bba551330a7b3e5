// Processes made by clone(2) and by fork's number through syscall(2), from a thread and from main:
// copies of the process go on with threads and blocking I/O; a child in the same memory blocks,
// uses libc and ends beside the threads; a thread ends by number.
// limit: 30
// expect: fibers>=4 native_fallbacks=0
#include "../../support/twin.h"
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define STACK (1 << 18)

static void* same(void* arg) { return arg; }

static int with_threads(void* arg) {
    (void)arg;
    CHECK(finish(start(same, (void*)5)) == (void*)5);
    nap(1);
    return pingpong(2, 3) == 6 ? 7 : 8;
}

static int seen;
static int in_our_memory(void* arg) {
    int* fds = (int*)arg;
    char c;
    if (read(fds[0], &c, 1) != 1) return 9;
    nap(1);
    errno = 0;
    if (read(-1, &c, 1) != -1 || errno != EBADF) return 10;
    char* text = malloc(100);
    snprintf(text, 100, "%d", 4711);
    if (strcmp(text, "4711") != 0) return 11;
    free(text);
    __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    if (write(fds[3], "y", 1) != 1) return 12;
    return 4;
}

static void say(const char* name, pid_t child) { printf("%s: %#x\n", name, reap(child)); }

static void* all(void* arg) {
    char* stack =
        (char*)mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED);
    pid_t child = (pid_t)syscall(SYS_fork);
    if (child == 0) _exit(with_threads(NULL));
    say("fork by number", child);
    child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(with_threads(NULL));
    say("clone by number", child);
    struct clone_args wanted = {.exit_signal = SIGCHLD};
    child = (pid_t)syscall(SYS_clone3, &wanted, sizeof wanted);
    if (child == 0) _exit(with_threads(NULL));
    say("clone3 by number", child);
    child = clone(with_threads, stack + STACK, SIGCHLD, NULL);
    say("clone, a copy", child);
    int fds[4];
    CHECK(pipe(fds) == 0 && pipe(fds + 2) == 0);
    const int shared = CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD;
    int ended = 0;
    char c;
    seen = 0;
    for (int i = 0; i < 50; i++) {
        child = clone(in_our_memory, stack + STACK, shared, fds);
        CHECK(child > 0);
        put(fds[1], "x", 1);
        CHECK(take(fds[2], &c, 1) == 1 && c == 'y');
        ended += exited_with(reap(child), 4);
    }
    printf("%d children in our memory, %d seen\n", ended, seen);
    put(fds[1], "x", 1);
    child = clone(in_our_memory, stack + STACK, shared | CLONE_VFORK, fds);
    CHECK(seen == 51);
    CHECK(take(fds[2], &c, 1) == 1);
    say("suspended until its end", child);
    errno = 0;
    long bad = clone(in_our_memory, stack + STACK, CLONE_SIGHAND, NULL);
    printf("bad flags: %ld %s\n", bad, strerrorname_np(errno));
    for (int i = 0; i < 4; i++) close(fds[i]);
    munmap(stack, STACK);
    return arg;
}

static void* end_by_number(void* arg) {
    CHECK(syscall(SYS_getpid) == getpid());
    syscall(SYS_exit, 0);
    return arg;
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    finish(start(all, NULL));
    all(NULL);
    pthread_t t = start(end_by_number, NULL);
    (void)t;  // libc's join would not know of its end
    nap(5);
    pid_t child = fork();
    if (child == 0) syscall(SYS_exit, 6);
    say("exit by number", child);
    printf("%d replies\n", pingpong(3, 5));
    return 0;
}
