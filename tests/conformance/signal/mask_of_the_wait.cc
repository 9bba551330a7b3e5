// ppoll, pselect, epoll_pwait and sigsuspend wait with a mask of their own.  What is ready is
// reported before a signal that the mask opens is taken; the handler sees the mask from before the
// call as the one to go back to; all that the mask opens is handled before the call returns.
// expect: fibers>=1 native_fallbacks=0
#include <atomic>
#include <sys/epoll.h>
#include <sys/select.h>
#include "../../support/twin.h"

static int fds[2], ep;
static std::atomic<int> handled;
static char seen[100];

static void handler(int signal, siginfo_t*, void* context) {
    const sigset_t& saved = static_cast<ucontext_t*>(context)->uc_sigmask;
    sigset_t now;
    CHECK(pthread_sigmask(SIG_BLOCK, nullptr, &now) == 0);
    const int at = handled++ * 4;
    seen[at] = signal == SIGUSR1 ? '1' : '2';
    seen[at + 1] = sigismember(&saved, SIGUSR1) ? 'b' : 'o';
    seen[at + 2] = sigismember(&saved, SIGUSR2) ? 'b' : 'o';
    seen[at + 3] = sigismember(&now, SIGUSR1) && sigismember(&now, SIGUSR2) ? '.' : ':';
}

struct Wait {
    const char* name;
    int (*call)(const sigset_t*, int milliseconds);
};
static const Wait waits[] = {
    {"ppoll",
     [](const sigset_t* s, int ms) {
         pollfd p = {fds[0], POLLIN, 0};
         const timespec t = {ms / 1000, ms % 1000 * 1000000L};
         return ppoll(&p, 1, ms < 0 ? nullptr : &t, s);
     }},
    {"pselect",
     [](const sigset_t* s, int ms) {
         fd_set r;
         FD_ZERO(&r);
         FD_SET(fds[0], &r);
         const timespec t = {ms / 1000, ms % 1000 * 1000000L};
         return pselect(fds[0] + 1, &r, nullptr, nullptr, ms < 0 ? nullptr : &t, s);
     }},
    {"epoll_pwait",
     [](const sigset_t* s, int ms) {
         epoll_event e;
         return epoll_pwait(ep, &e, 1, ms, s);
     }},
    {"sigsuspend", [](const sigset_t* s, int) { return sigsuspend(s); }},
};

static void try_one(const Wait& w, const char* what, std::initializer_list<int> pending, int ms) {
    handled = 0;
    memset(seen, 0, sizeof seen);
    for (int signal : pending) CHECK(raise(signal) == 0);
    CHECK(handled == 0);
    sigset_t none, now;
    sigemptyset(&none);
    errno = 0;
    const int rc = w.call(&none, ms);
    const int code = errno;
    printf("%s, %s: %d %d, handled %d %s", w.name, what, rc, rc < 0 ? code : 0, (int)handled, seen);
    CHECK(pthread_sigmask(SIG_BLOCK, nullptr, &now) == 0);
    printf(", after %d%d\n", sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2));
    const timespec at_once = {};
    sigset_t both = now;
    while (sigtimedwait(&both, nullptr, &at_once) > 0) {
    }
}

static void* body(void*) {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    sigaddset(&s, SIGUSR2);
    CHECK(pthread_sigmask(SIG_BLOCK, &s, nullptr) == 0);
    for (const Wait& w : waits) {
        try_one(w, "one pending", {SIGUSR1}, -1);
        try_one(w, "two pending", {SIGUSR2, SIGUSR1}, -1);
        if (w.call == waits[COUNT(waits) - 1].call) break;
        try_one(w, "pending, no time", {SIGUSR1}, 0);
        try_one(w, "nothing pending", {}, 5);
        put(fds[1], "x", 1);
        try_one(w, "ready", {}, -1);
        try_one(w, "pending and ready", {SIGUSR1}, -1);
        try_one(w, "pending and ready, no time", {SIGUSR1, SIGUSR2}, 0);
        char c;
        CHECK(take(fds[0], &c, 1) == 1);
    }
    return nullptr;
}

int main() {
    unix_pair(fds);
    CHECK((ep = epoll_create1(0)) >= 0);
    epoll_event e = {};
    e.events = EPOLLIN;
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &e) == 0);
    struct sigaction a = {};
    a.sa_sigaction = handler;
    a.sa_flags = SA_SIGINFO | SA_RESTART;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0 && sigaction(SIGUSR2, &a, nullptr) == 0);
    finish(start(body, nullptr));
    return 0;
}
