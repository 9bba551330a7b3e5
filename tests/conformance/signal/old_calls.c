// The signal calls of System V and BSD: results, dispositions and masks as libc's, and handlers run
// in the thread that the signal is for, once, on whatever processor it is.
// flags: -Wno-deprecated-declarations
// expect: fibers>=3 native_fallbacks=0
#define _XOPEN_SOURCE 700
#include "../../support/twin.h"
#include <setjmp.h>

static __thread int number;
static volatile int handled, by;
static void handler(int sig) {
    handled++;
    by = number * 100 + sig;
}
static const char* name_of(sighandler_t h) {
    return h == SIG_ERR    ? "error"
           : h == SIG_DFL  ? "default"
           : h == SIG_IGN  ? "ignore"
           : h == SIG_HOLD ? "hold"
           : h == handler  ? "handler"
                           : "?";
}
static void show(const char* what, int sig) {
    struct sigaction a;
    sigset_t mask;
    CHECK(sigaction(sig, NULL, &a) == 0 && sigprocmask(SIG_BLOCK, NULL, &mask) == 0);
    printf("%s: %s, flags%s%s%s%s, own %d, blocked %d\n", what, name_of(a.sa_handler),
           a.sa_flags & SA_RESTART ? " restart" : "", a.sa_flags & SA_NODEFER ? " nodefer" : "",
           (unsigned)a.sa_flags & SA_RESETHAND ? " reset" : "",
           a.sa_flags & SA_ONSTACK ? " onstack" : "", sigismember(&a.sa_mask, sig),
           sigismember(&mask, sig));
}
extern sighandler_t sysv_signal(int, sighandler_t);
extern int sigblock(int), sigsetmask(int), siggetmask(void), gsignal(int);
extern sighandler_t ssignal(int, sighandler_t), bsd_signal(int, sighandler_t);
extern int bsd_sigpause(int) __asm__("sigpause");
extern int __sigpause(int, int), xpg_sigpause(int) __asm__("__xpg_sigpause");

static void* other(void* arg) {
    int sig = (int)(intptr_t)arg;
    number = 2;
    int before = handled;
    CHECK(raise(sig) == 0 && handled == before + 1 && by == 200 + sig);
    return NULL;
}
static void* kills_main(void* arg) {
    nap(5);
    while (handled == 0) {
        pthread_kill(*(pthread_t*)arg, SIGUSR1);
        nap(5);
    }
    return NULL;
}

// Every spelling of a jump out of a handler: with the mask of sigsetjmp, or with the handler's.
extern void long_jump_checked(struct __jmp_buf_tag*, int) __asm__("__longjmp_chk");
static sigjmp_buf back;
static volatile int way;
static void jumps(int sig) {
    (void)sig;
    if (way == 0) siglongjmp(back, 1);
    if (way == 1) longjmp(back, 1);
    if (way == 2) _longjmp(back, 1);
    long_jump_checked(back, 1);
}
static void jump_out(void) {
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = jumps;
    CHECK(sigaction(SIGUSR1, &a, NULL) == 0);
    for (int saves = 1; saves >= 0; saves--) {
        for (way = 0; way < 4; way = way + 1) {
            if (sigsetjmp(back, saves) == 0) {
                raise(SIGUSR1);
                CHECK(0);
            }
            show(saves ? "jumped with the mask" : "jumped", SIGUSR1);
            CHECK(sigrelse(SIGUSR1) == 0);
        }
    }
}

static void all(void) {
    handled = 0;
    // System V: sigset, sighold, sigrelse, sigignore.
    printf("%s\n", name_of(sigset(SIGUSR1, handler)));
    show("sigset", SIGUSR1);
    CHECK(raise(SIGUSR1) == 0 && handled == 1 && by == 100 + SIGUSR1);
    finish(start(other, (void*)(intptr_t)SIGUSR1));
    printf("%s\n", name_of(sigset(SIGUSR1, SIG_HOLD)));
    show("held", SIGUSR1);
    CHECK(raise(SIGUSR1) == 0 && handled == 2);
    printf("%s\n", name_of(sigset(SIGUSR1, SIG_HOLD)));
    printf("%s\n", name_of(sigset(SIGUSR1, handler)));
    CHECK(handled == 3);  // pending until the mask was opened
    CHECK(sighold(SIGUSR1) == 0);
    show("sighold", SIGUSR1);
    CHECK(kill(getpid(), SIGUSR1) == 0 && handled == 3);
    CHECK(sigrelse(SIGUSR1) == 0 && handled == 4);
    show("sigrelse", SIGUSR1);
    CHECK(sigignore(SIGUSR1) == 0 && raise(SIGUSR1) == 0 && handled == 4);
    show("sigignore", SIGUSR1);
    printf("%s\n", name_of(sigset(SIGUSR1, SIG_DFL)));
    errno = 0;
    printf("%s %d\n", name_of(sigset(0, handler)), errno);
    errno = 0;
    printf("%s %d\n", name_of(sigset(SIGKILL, handler)), errno);
    errno = 0;
    printf("%s %d\n", name_of(sigset(65, SIG_HOLD)), errno);
    errno = 0;
    printf("%d %d %d %d\n", sighold(0), sigrelse(100), sigignore(SIGSTOP), errno);

    // signal() and its namesakes.
    printf("%s\n", name_of(signal(SIGUSR2, handler)));
    show("signal", SIGUSR2);
    CHECK(siginterrupt(SIGUSR2, 1) == 0);
    show("siginterrupt 1", SIGUSR2);
    printf("%s\n", name_of(bsd_signal(SIGUSR2, handler)));
    show("signal after it", SIGUSR2);
    CHECK(siginterrupt(SIGUSR2, 0) == 0);
    show("siginterrupt 0", SIGUSR2);
    printf("%s\n", name_of(ssignal(SIGUSR2, SIG_IGN)));
    printf("%s\n", name_of(sysv_signal(SIGUSR2, handler)));
    show("sysv_signal", SIGUSR2);
    handled = 0;
    CHECK(gsignal(SIGUSR2) == 0 && handled == 1 && by == 100 + SIGUSR2);
    show("after it ran", SIGUSR2);
    errno = 0;
    printf("%s %d\n", name_of(signal(SIGKILL, handler)), errno);
    printf("%s %d\n", name_of(signal(65, handler)), errno);
    printf("%s %d\n", name_of(sysv_signal(-1, handler)), errno);

    // BSD masks.
    CHECK(signal(SIGUSR1, handler) != SIG_ERR);
    int bit = 1 << (SIGUSR1 - 1), start_mask = siggetmask();
    CHECK(sigblock(bit) == start_mask && siggetmask() == (start_mask | bit));
    handled = 0;
    CHECK(raise(SIGUSR1) == 0 && handled == 0);
    CHECK(sigsetmask(start_mask) == (start_mask | bit) && handled == 1);
    CHECK(siggetmask() == start_mask);

    // sigpause, in its three spellings: opens the signal only while it waits.
    pthread_t self = pthread_self();
    for (int i = 0; i < 4; i++) {
        CHECK(sighold(SIGUSR1) == 0);
        handled = 0;
        pthread_t t = start(kills_main, &self);
        errno = 0;
        int rc = i == 0   ? xpg_sigpause(SIGUSR1)
                 : i == 1 ? bsd_sigpause(start_mask)
                 : i == 2 ? __sigpause(SIGUSR1, 1)
                          : __sigpause(start_mask, 0);
        CHECK(rc == -1 && errno == EINTR && handled >= 1);
        show("sigpause", SIGUSR1);
        finish(t);
        CHECK(sigrelse(SIGUSR1) == 0);
    }
    errno = 0;
    printf("%d %d\n", sigpause(0), errno);
    jump_out();
    psignal(SIGUSR1, "psignal");
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
}

int main(void) {
    number = 1;
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGHUP);
    CHECK(sigprocmask(SIG_BLOCK, &s, NULL) == 0);
    all();
    fflush(stdout);
    return 0;
}
