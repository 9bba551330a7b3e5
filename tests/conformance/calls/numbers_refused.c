// syscall(2) with arguments that the kernel refuses: the same errors before the first thread, on a
// thread, and in a fork's child that has none.
#include <linux/membarrier.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "../../support/check.h"

static void* bad;  // no access

static void refused(const char* what, long answer) {
    printf(" %s %s", what, answer == -1 ? strerrorname_np(errno) : "done");
}

static void* ask(void* where) {
    const struct timespec past = {0, 1};
    size_t length;
    printf("%s:", (const char*)where);
    refused("select", syscall(SYS_select, 0, NULL, NULL, NULL, bad));
    refused("pselect6", syscall(SYS_pselect6, 0, NULL, NULL, NULL, bad, NULL));
    refused("mask of it", syscall(SYS_pselect6, 0, NULL, NULL, NULL, &past, bad));
    refused("ppoll", syscall(SYS_ppoll, NULL, 0, bad, NULL, 8));
    refused("rt_sigpending", syscall(SYS_rt_sigpending, bad, 8));
    refused("rt_sigprocmask", syscall(SYS_rt_sigprocmask, SIG_BLOCK, bad, NULL, 8));
    refused("old mask", syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, bad, 8));
    refused("rt_sigaction", syscall(SYS_rt_sigaction, SIGUSR1, bad, NULL, 8));
    refused("clone3", syscall(SYS_clone3, bad, CLONE_ARGS_SIZE_VER0));
    refused("clone3 of nothing", syscall(SYS_clone3, NULL, CLONE_ARGS_SIZE_VER0));
    refused("get_robust_list", syscall(SYS_get_robust_list, 0, bad, &length));
    refused("length", syscall(SYS_get_robust_list, 0, &length, bad));
    refused("rt_sigqueueinfo", syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, bad));
    refused("CPU clock", syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &past, NULL));
    refused("by libc",
            (errno = clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &past, NULL)) == 0 ? 0 : -1);
    refused("membarrier", syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    printf("\n");
    fflush(stdout);
    return where;
}

int main(void) {
    pthread_t thread;
    bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(bad != MAP_FAILED);
    ask("before");
    CHECK_EQ(pthread_create(&thread, NULL, ask, "thread"), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    ask("main");
    const pid_t child = fork();
    if (child == 0) {
        ask("child");
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0), 0);
    CHECK_EQ(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), 0);
    return 0;
}
