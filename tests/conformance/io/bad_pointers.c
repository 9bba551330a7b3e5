// Calls with addresses that the program may not touch fail with EFAULT, as from the kernel, on
// descriptors that are ready and on some that are not; nothing crashes and nothing is waited for.
// The output is compared with the native one.
#include "../../support/twin.h"
#include <linux/futex.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

static sigjmp_buf back;
static int faults;
static char *none, *edge;  // a page without rights; the last bytes before it
static void* bad[4];
static int ready[2], empty[2], pipes[2], listener, file, epoll;

static void on_fault(int signal) {
    (void)signal;
    faults++;
    siglongjmp(back, 1);
}

#define TRY(call)                                                                              \
    do {                                                                                       \
        errno = 0;                                                                             \
        if (sigsetjmp(back, 1) == 0) {                                                         \
            long result = (long)(call);                                                        \
            printf("%s: %ld %s\n", #call, result, result == -1 ? strerrorname_np(errno) : ""); \
        } else {                                                                               \
            printf("%s: SIGSEGV\n", #call);                                                    \
        }                                                                                      \
    } while (0)

static struct mmsghdr many[2];

static void bytes(void* p) {
    struct iovec inner = {p, 8}, *vector = p;
    struct msghdr message = {.msg_iov = p, .msg_iovlen = 1},
                  to = {.msg_iov = &inner, .msg_iovlen = 1};
    int ends[2] = {ready[0], pipes[0]};
    for (int i = 0; i < 2; i++) {
        TRY(read(ends[i], p, 8));
        TRY(readv(ends[i], vector, 1));
        TRY(readv(ends[i], &inner, 1));
    }
    TRY(read(file, p, 8));
    TRY(readv(file, vector, 1));
    TRY(pread(file, p, 8, 0));
    TRY(preadv(file, vector, 1, 0));
    TRY(pwritev(file, vector, 1, 0));
    TRY(write(ready[1], p, 8));
    TRY(writev(ready[1], vector, 1));
    TRY(writev(ready[1], &inner, 1));
    TRY(write(pipes[1], p, 8));
    TRY(writev(pipes[1], vector, 1));
    TRY(writev(file, vector, 1));
    TRY(recv(ready[0], p, 8, 0));
    TRY(recv(empty[0], p, 8, MSG_DONTWAIT));
    TRY(send(ready[1], p, 8, 0));
    TRY(recvmsg(ready[0], p, 0));
    TRY(recvmsg(ready[0], &message, 0));
    TRY(recvmsg(ready[0], &to, 0));
    TRY(sendmsg(ready[1], p, 0));
    TRY(sendmsg(ready[1], &message, 0));
    TRY(sendmsg(ready[1], &to, 0));
    many[0].msg_hdr = message;
    many[1].msg_hdr = to;
    TRY(sendmmsg(ready[1], p, 2, 0));
    TRY(sendmmsg(ready[1], many, 2, 0));
    TRY(recvmmsg(ready[0], p, 2, 0, NULL));
    TRY(recvmmsg(ready[0], many, 2, 0, NULL));
    TRY(recvmmsg(empty[0], many, 2, 0, p));
}

static void sockets(void* p) {
    char name[128];
    socklen_t length = sizeof name;
    TRY(connect(empty[0], p, 16));
    TRY(bind(empty[0], p, 16));
    TRY(sendto(ready[1], "x", 1, 0, p, 16));
    if (p != NULL) {
        TRY(recvfrom(ready[0], name, 1, 0, p, &length));
        int fd;
        TRY((fd = accept(listener, p, &length)) >= 0 ? close(fd) : -1);
        TRY((fd = accept(listener, (struct sockaddr*)name, p)) >= 0 ? close(fd) : -1);
    }
    TRY(recvfrom(ready[0], name, 1, 0, (struct sockaddr*)name, p));
    TRY(getsockopt(empty[0], SOL_SOCKET, SO_TYPE, p, &length));
    TRY(setsockopt(empty[0], SOL_SOCKET, SO_RCVTIMEO, p, sizeof(struct timeval)));
    TRY(setsockopt(empty[0], SOL_SOCKET, SO_SNDTIMEO, p, sizeof(struct timeval)));
    TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    TRY(pipe(p));
    TRY(pipe2(p, O_CLOEXEC));
}

static void waits(void* p) {
    struct pollfd one = {ready[0], POLLIN, 0};
    struct epoll_event event;
    struct timespec now = {0, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ready[0], &set);
    TRY(poll(p, 1, 0));
    TRY(poll(p, 1, -1));
    TRY(poll(p, 0, 0));
    TRY(ppoll(p, 1, &now, NULL));
    if (p != NULL) {
        TRY(syscall(SYS_ppoll, &one, 1, p, NULL, 8));
        TRY(syscall(SYS_ppoll, &one, 1, NULL, p, 8));
        TRY(syscall(SYS_pselect6, ready[0] + 1, &set, NULL, NULL, p, NULL));
        TRY(syscall(SYS_pselect6, ready[0] + 1, &set, NULL, NULL, NULL, p));
        TRY(syscall(SYS_epoll_pwait, epoll, &event, 1, 0, p, 8));
        TRY(ppoll(&one, 1, &now, p));
        TRY(select(ready[0] + 1, p, NULL, NULL, NULL));
        TRY(select(ready[0] + 1, NULL, p, NULL, NULL));
        TRY(select(ready[0] + 1, NULL, NULL, p, NULL));
        TRY(syscall(SYS_select, ready[0] + 1, &set, NULL, NULL, p));
        TRY(pselect(ready[0] + 1, p, NULL, NULL, &now, NULL));
        TRY(pselect(ready[0] + 1, &set, NULL, NULL, &now, p));
        TRY(epoll_pwait(epoll, &event, 1, 0, p));
        TRY(epoll_pwait2(epoll, &event, 1, p, NULL));
    }
    TRY(epoll_wait(epoll, p, 1, 0));
    TRY(epoll_wait(epoll, p, 1, -1));
    TRY(epoll_ctl(epoll, EPOLL_CTL_ADD, empty[0], p));
    TRY(epoll_ctl(epoll, EPOLL_CTL_MOD, ready[0], p));
}

static void times(void* p) {
    int word = 0;
    struct timespec none_left = {0, 1};
    TRY(nanosleep(p, NULL));
    TRY(clock_nanosleep(CLOCK_MONOTONIC, 0, p, NULL));
    TRY(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, p, NULL));
    TRY(nanosleep(&none_left, p));
    TRY(syscall(SYS_nanosleep, p, NULL));
    TRY(syscall(SYS_futex, p, FUTEX_WAIT_PRIVATE, 0, NULL));
    TRY(syscall(SYS_futex, p, FUTEX_WAIT, 0, NULL));
    TRY(syscall(SYS_futex, p, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, -1));
    if (p != NULL) TRY(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, p));
    TRY(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE_PRIVATE, 1, 1, p, 0));
    TRY(syscall(SYS_futex, p, FUTEX_CMP_REQUEUE_PRIVATE, 1, 1, &word, 0));
    TRY(syscall(SYS_futex, &word, FUTEX_WAKE_OP_PRIVATE, 1, 1, p, 0));
    TRY(syscall(SYS_futex, p, FUTEX_LOCK_PI_PRIVATE, 0, NULL));
    TRY(syscall(SYS_futex, p, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL));
    TRY(syscall(SYS_futex, p, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL));
}

static void signals(void* p) {
    sigset_t set;
    siginfo_t info;
    struct timespec now = {0, 0};
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    if (p != NULL) {
        TRY(sigtimedwait(&set, &info, p));
        TRY(syscall(SYS_rt_sigprocmask, SIG_BLOCK, p, NULL, 8));
        TRY(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, p, 8));
        TRY(syscall(SYS_rt_sigpending, p, 8));
        TRY(syscall(SYS_rt_sigaction, SIGUSR2, p, NULL, 8));
        TRY(syscall(SYS_rt_sigaction, SIGUSR2, NULL, p, 8));
        TRY(sigprocmask(SIG_BLOCK, NULL, p));
        TRY(sigpending(p));
    }
    TRY(sigtimedwait(p, &info, &now));
    TRY(waitpid(-1, p, WNOHANG));
    TRY(waitid(P_ALL, 0, p, WEXITED | WNOHANG));
    off_t offset = 0;
    (void)offset;
    if (p != NULL) TRY(sendfile(ready[1], file, p, 1));
    TRY(open(p, O_RDONLY));
    TRY(fcntl(file, F_GETLK, p));
    TRY(fcntl(file, F_SETLKW, p));
}

static void* all(void* unused) {
    (void)unused;
    for (int i = 0; i < COUNT(bad); i++) {
        printf("== %d\n", i);
        bytes(bad[i]);
        sockets(bad[i]);
        waits(bad[i]);
        times(bad[i]);
        signals(bad[i]);
    }
    return NULL;
}

static void* some(void* unused) {
    (void)unused;
    for (int i = 0; i < COUNT(bad); i++) bytes(bad[i]);
    return NULL;
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    none = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(none != MAP_FAILED);
    edge = none + 4096 - 4;
    none += 4096;
    CHECK_EQ(mprotect(none, 4096, PROT_NONE), 0);
    bad[0] = NULL;
    bad[1] = none;
    bad[2] = (void*)0x7ffffffff000;
    bad[3] = (void*)0xdeadbeef00000000;
    struct sigaction a = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    CHECK_EQ(sigaction(SIGSEGV, &a, NULL), 0);
    CHECK_EQ(sigaction(SIGBUS, &a, NULL), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ready), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, empty), 0);
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(write(ready[1], "0123456789", 10), 10);
    CHECK_EQ(write(pipes[1], "0123456789", 10), 10);
    char name[] = "/tmp/bad_pointers.XXXXXX";
    file = mkstemp(name);
    CHECK_GE(file, 0);
    unlink(name);
    CHECK_EQ(write(file, "0123456789", 10), 10);
    CHECK_EQ(lseek(file, 0, SEEK_SET), 0);
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, ready[0], &event), 0);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK_EQ(bind(listener, (struct sockaddr*)&address, sizeof address), 0);
    CHECK_EQ(listen(listener, 64), 0);
    socklen_t length = sizeof address;
    CHECK_EQ(getsockname(listener, (struct sockaddr*)&address, &length), 0);
    for (int i = 0; i < 2 * COUNT(bad); i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        CHECK_EQ(connect(fd, (struct sockaddr*)&address, sizeof address), 0);
    }
    finish(start(all, NULL));
    printf("%d faults\n", faults);
    // Without a handler.
    CHECK(signal(SIGSEGV, SIG_DFL) == on_fault);
    CHECK(signal(SIGBUS, SIG_DFL) == on_fault);
    finish(start(some, NULL));
    return 0;
}
