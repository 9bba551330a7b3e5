// Calls by number with the kernel's own arguments: sets of eight bytes, sizes, results.
// expect: fibers>=3 native_fallbacks=0
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "../../support/twin.h"

static int pair[2];
static volatile sig_atomic_t handled;
static pthread_barrier_t together;

static void note(int signal) { handled = signal; }

struct kernel_action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static void* sends(void* arg) {
    (void)arg;
    for (int i = 0; i < 8; i++) {
        pthread_barrier_wait(&together);
        usleep(2000);
        CHECK(write(pair[1], "x", 1) == 1);
    }
    return NULL;
}

static void take_one(void) {
    char byte;
    CHECK(syscall(SYS_read, pair[0], &byte, 1) == 1 && byte == 'x');
}

static void* waits(void* arg) {
    (void)arg;
    const uint64_t empty = 0;
    struct pollfd one = {.fd = pair[0], .events = POLLIN};
    pthread_barrier_wait(&together);
    printf("ppoll %ld\n", syscall(SYS_ppoll, &one, 1, NULL, &empty, 8));
    take_one();
    pthread_barrier_wait(&together);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pair[0], &set);
    struct {
        const uint64_t* word;
        size_t size;
    } sized = {&empty, 8};
    printf("pselect6 %ld\n", syscall(SYS_pselect6, pair[0] + 1, &set, NULL, NULL, NULL, &sized));
    take_one();
    pthread_barrier_wait(&together);
    FD_SET(pair[0], &set);
    printf("select %ld\n", syscall(SYS_select, pair[0] + 1, &set, NULL, NULL, NULL));
    take_one();
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event) == 0);
    pthread_barrier_wait(&together);
    printf("epoll_pwait %ld\n", syscall(SYS_epoll_pwait, epoll, &event, 1, -1, &empty, 8));
    take_one();
    pthread_barrier_wait(&together);
    printf("epoll_pwait2 %ld\n", syscall(SYS_epoll_pwait2, epoll, &event, 1, NULL, NULL, 0));
    take_one();
    pthread_barrier_wait(&together);
    char bytes[4];
    struct iovec vector = {bytes, 1};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}};
    printf("recvmmsg %ld\n", syscall(SYS_recvmmsg, pair[0], &message, 1, 0, NULL));
    pthread_barrier_wait(&together);
    printf("recvfrom %ld\n", syscall(SYS_recvfrom, pair[0], bytes, 4, 0, NULL, NULL));
    pthread_barrier_wait(&together);
    printf("readv %ld\n", syscall(SYS_readv, pair[0], &vector, 1));
    printf("wrong size %ld %d\n", syscall(SYS_ppoll, &one, 1, NULL, &empty, 4), errno);
    close(epoll);
    return NULL;
}

static void* signals(void* arg) {
    (void)arg;
    struct kernel_action action = {.handler = SIG_IGN}, old = {.handler = SIG_IGN};
    CHECK(syscall(SYS_rt_sigaction, SIGUSR1, NULL, &old, 8) == 0 && old.handler == note);
    CHECK(syscall(SYS_rt_sigaction, SIGUSR2, &action, &old, 8) == 0 && old.handler == SIG_DFL);
    CHECK(syscall(SYS_rt_sigaction, SIGUSR2, NULL, &old, 4) == -1 && errno == EINVAL);
    const uint64_t usr1 = 1u << (SIGUSR1 - 1);
    uint64_t former = 0, pending = 0;
    CHECK(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &usr1, &former, 8) == 0 && former == 0);
    CHECK(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1) == 0);
    CHECK(syscall(SYS_rt_sigpending, &pending, 8) == 0);
    printf("pending %d, handled %d\n", pending == usr1, (int)handled);
    const uint64_t none = 0;
    CHECK(syscall(SYS_rt_sigsuspend, &none, 8) == -1 && errno == EINTR);
    printf("after sigsuspend handled %d\n", handled == SIGUSR1);
    CHECK(syscall(SYS_tkill, gettid(), SIGUSR1) == 0);
    siginfo_t info;
    printf("sigtimedwait %d\n", syscall(SYS_rt_sigtimedwait, &usr1, &info, NULL, 8) == SIGUSR1);
    const struct timespec soon = {0, 1000000};
    CHECK(syscall(SYS_rt_sigtimedwait, &usr1, &info, &soon, 8) == -1 && errno == EAGAIN);
    CHECK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &former, NULL, 8) == 0);
    return NULL;
}

int main(void) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    pthread_barrier_init(&together, NULL, 2);
    signal(SIGUSR1, note);
    finish(start(signals, NULL));
    pthread_t other = start(sends, NULL);
    finish(start(waits, NULL));
    finish(other);
    return 0;
}
