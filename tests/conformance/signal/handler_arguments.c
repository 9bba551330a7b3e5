// SA_SIGINFO fields and flags: si_code and si_pid for kill, pthread_kill, sigqueue, a child's end,
// a timer and a fault; SA_RESETHAND, SA_NODEFER, sa_mask, SIG_IGN; what sigaction reports is what
// was set.
#include "../../support/twin.h"
#include <setjmp.h>
#include <ucontext.h>

// volatile: raise and friends are declared leaf, so a compiler may assume they change nothing here.
static volatile siginfo_t last;
static volatile sig_atomic_t runs, depth, deepest, other_blocked, self_blocked, may_nest;
static sigjmp_buf back;

static void note(int sig, siginfo_t* info, void* context) {
    (void)context;
    CHECK(sig == info->si_signo);
    last = *info;
    runs++;
}
static void nested(int sig) {
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    self_blocked = sigismember(&now, sig);
    other_blocked = sigismember(&now, SIGUSR2);
    if (++depth > deepest) deepest = depth;
    if (may_nest && deepest < 3) raise(sig);
    depth--;
}
static void fault(int sig, siginfo_t* info, void* context) {
    (void)sig;
    CHECK(((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP] != 0);
    last = *info;
    siglongjmp(back, 1);
}
static void set(int sig, void (*f)(int, siginfo_t*, void*), int flags) {
    struct sigaction a = {.sa_sigaction = f, .sa_flags = flags | SA_SIGINFO}, old;
    CHECK(sigaction(sig, &a, NULL) == 0 && sigaction(sig, NULL, &old) == 0);
    CHECK(old.sa_sigaction == f && (old.sa_flags & ~0x04000000) == (flags | SA_SIGINFO));
}

static void* in_thread(void* arg) {
    (void)arg;
    set(SIGUSR1, note, SA_RESTART);
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    CHECK(runs == 1 && last.si_code == SI_TKILL && last.si_pid == getpid());
    CHECK(raise(SIGUSR1) == 0 && runs == 2 && last.si_code == SI_TKILL);
    union sigval v = {.sival_int = 99};
    CHECK(pthread_sigqueue(pthread_self(), SIGUSR1, v) == 0);
    CHECK(runs == 3 && last.si_code == SI_QUEUE && last.si_value.sival_int == 99);

    set(SIGUSR1, note, SA_RESETHAND);
    raise(SIGUSR1);
    struct sigaction now;
    CHECK(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == SIG_DFL && runs == 4);
    signal(SIGUSR1, SIG_IGN);
    raise(SIGUSR1);
    CHECK(runs == 4);

    struct sigaction n = {.sa_handler = nested};
    sigaddset(&n.sa_mask, SIGUSR2);
    CHECK(sigaction(SIGUSR1, &n, NULL) == 0);
    raise(SIGUSR1);
    CHECK(other_blocked == 1 && self_blocked == 1);
    deepest = 0;
    may_nest = 1;
    n.sa_flags = SA_NODEFER;
    sigemptyset(&n.sa_mask);
    CHECK(sigaction(SIGUSR1, &n, NULL) == 0);
    raise(SIGUSR1);
    CHECK(deepest == 3 && self_blocked == 0 && other_blocked == 0);

    set(SIGSEGV, fault, 0);
    int* volatile nowhere = (int*)16;
    if (sigsetjmp(back, 1) == 0) *nowhere = 1;
    CHECK(last.si_signo == SIGSEGV && last.si_code == SEGV_MAPERR && last.si_addr == (void*)16);
    set(SIGFPE, fault, 0);
    volatile int zero = 0;
    if (sigsetjmp(back, 1) == 0) zero = 100 / zero;
    CHECK(last.si_signo == SIGFPE && last.si_code == FPE_INTDIV);
    signal(SIGSEGV, SIG_DFL);
    return NULL;
}

int main(void) {
    finish(start(in_thread, NULL));
    set(SIGCHLD, note, 0);
    runs = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(17);
    int status;
    while (waitpid(child, &status, 0) == -1) CHECK(errno == EINTR);
    while (runs == 0) nap(1);
    CHECK(runs == 1 && last.si_code == CLD_EXITED && last.si_status == 17 && last.si_pid == child);
    set(SIGUSR2, note, 0);
    CHECK(kill(getpid(), SIGUSR2) == 0);
    while (runs == 1) nap(1);
    CHECK(last.si_code == SI_USER && last.si_pid == getpid() && last.si_uid == getuid());
    CHECK(sigaction(SIGKILL, &(struct sigaction){.sa_handler = SIG_IGN}, NULL) == -1 &&
          errno == EINVAL);
    puts("all fields right");
    return 0;
}
