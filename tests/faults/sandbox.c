// A daemon that gives up rights once it has threads: no further kernel threads, epoll instances or
// executable memory, no calls but those it makes itself (on pain of death), no /proc, its limit of
// descriptors lowered, or every descriptor closed. usage: sandbox
// filter|kill|chroot|setuid|limit|close|close_range
#include "twin.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "inline_syscall.h"

#define ANSWER(number, action) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, action)
#define REFUSE(number) ANSWER(number, SECCOMP_RET_ERRNO | EPERM)
#define KILL(number) ANSWER(number, SECCOMP_RET_KILL_PROCESS)

static void install(struct sock_filter* program, size_t count) {
    struct sock_fprog filter = {(unsigned short)count, program};
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter), 0);
}

// Calls that the program itself does not make.
static void install_killing_filter(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        KILL(SYS_preadv2),
        KILL(SYS_pwritev2),
        KILL(SYS_getsockopt),
        KILL(SYS_timer_create),
        KILL(SYS_rt_sigtimedwait),
        KILL(SYS_membarrier),
        KILL(SYS_process_vm_readv),
        KILL(SYS_perf_event_open),
        KILL(SYS_openat),
        KILL(SYS_sched_getaffinity),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    install(program, COUNT(program));
}

static void install_filter(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        REFUSE(SYS_clone),
        REFUSE(SYS_clone3),
        REFUSE(SYS_epoll_create1),
        REFUSE(SYS_eventfd2),
        REFUSE(SYS_timer_create),
        REFUSE(SYS_membarrier),
        REFUSE(SYS_epoll_pwait2),
        REFUSE(SYS_preadv2),
        REFUSE(SYS_pwritev2),
        REFUSE(SYS_openat),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 4 /* PROT_EXEC */, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    install(program, COUNT(program));
}

static volatile int stop;
static void* hog(void* arg) {
    while (!stop) {
    }
    return arg;
}

static void* raw_reader(void* arg) {
    char byte = 0;
    CHECK_EQ(inline_syscall(SYS_read, (intptr_t)arg, (intptr_t)&byte, 1, 0), 1);
    return NULL;
}

static int new_user;
static void* sleeper(void* arg) {
    for (int i = 0; i < 5; i++) {
        nap(2);
        CHECK_EQ(syscall(SYS_getuid), new_user == 0 ? (long)getuid() : new_user);
    }
    return arg;
}

// The threads were there before; afterwards only their kernel threads are.
static sem_t begin;
static int calls[2];
static void* later(void* arg) {
    wait_sem(&begin);
    switch ((intptr_t)arg) {
        case 0:
            return hog(NULL);
        case 1:
            return raw_reader((void*)(intptr_t)calls[0]);
        default:
            return sleeper(NULL);
    }
}

int main(int argc, char** argv) {
    CHECK_EQ(argc, 2);
    const char* what = argv[1];
    pthread_t threads[3];
    sem_init(&begin, 0, 0);
    printf("before: %d\n", pingpong(4, 10));
    for (intptr_t i = 0; i < 3; i++) threads[i] = start(later, (void*)i);
    nap(5);
    if (strcmp(what, "filter") == 0) install_filter();
    if (strcmp(what, "kill") == 0) install_killing_filter();
    if (strcmp(what, "chroot") == 0 || strcmp(what, "setuid") == 0) {
        if (chroot(".") != 0) SKIP("chroot needs root");  // the runner's folder, empty
        CHECK_EQ(chdir("/"), 0);
    }
    if (strcmp(what, "setuid") == 0) {
        new_user = 65534;
        CHECK_EQ(setgid(65534) | setuid(65534), 0);
        CHECK_EQ(getuid(), 65534);
    }
    if (strcmp(what, "limit") == 0) {
        struct rlimit limit = {16, 16};
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    if (strcmp(what, "close") == 0)
        for (int fd = 3; fd < 70000; fd++) close(fd);
    if (strcmp(what, "close_range") == 0) CHECK_EQ(close_range(3, ~0U, 0), 0);
    // The lowest number is free.
    CHECK_EQ(pipe(calls), 0);
    if (strncmp(what, "close", 5) == 0) CHECK_EQ(calls[0], 3);
    for (int i = 0; i < 3; i++) sem_post(&begin);
    nap(30);
    stop = 1;
    put(calls[1], "x", 1);
    for (int i = 0; i < 3; i++) finish(threads[i]);
    if (strcmp(what, "filter") != 0) printf("after: %d\n", pingpong(2, 10));
    int fds[2];
    if (strcmp(what, "limit") == 0) {
        int made = 0;
        while (pipe(fds) == 0) made++;
        CHECK_EQ(errno, EMFILE);
        printf("pipes: %d\n", made);
    }
    printf("%s\n", what);
    return 0;
}
