// What a handler finds and leaves: signals opened together run in the kernel's order, each with its
// mask; one that waits for another thread does not keep it from running; handlers run in clean-up
// handlers and destructors of keys; abort's handler runs in the aborting thread; kill of the own
// process is done before it returns when only the caller is willing; a fault that its thread blocks
// ends the process with that signal.
//
// limit: 40
// expect: fibers>=7 native_fallbacks=0
#include <atomic>
#include <setjmp.h>
#include <sys/resource.h>
#include "../../support/twin.h"

static char order[200];
static std::atomic<int> length;
static __thread int number;
static std::atomic<int> handled, elsewhere;

static void appends(int signal, siginfo_t*, void* context) {
    const int base = SIGRTMIN;
    const sigset_t& saved = static_cast<ucontext_t*>(context)->uc_sigmask;
    order[length++] = signal >= base ? (char)('0' + signal - base) : signal == SIGUSR1 ? 'a' : 'b';
    // The mask that the handler's end restores tells which frames lie below.
    order[length++] = sigismember(&saved, SIGUSR1) ? '+' : '-';
}
static void set(int signal, void (*f)(int, siginfo_t*, void*), int flags) {
    struct sigaction a = {};
    a.sa_sigaction = f;
    a.sa_flags = SA_SIGINFO | flags;
    CHECK(sigaction(signal, &a, nullptr) == 0);
}
static void block(int how, std::initializer_list<int> signals) {
    sigset_t s;
    sigemptyset(&s);
    for (int one : signals) sigaddset(&s, one);
    CHECK(pthread_sigmask(how, &s, nullptr) == 0);
}

static void* opens_all(void* to_process) {
    const int rt = SIGRTMIN;
    block(SIG_BLOCK, {SIGUSR1, SIGUSR2, rt, rt + 1, rt + 2});
    for (int signal : {rt + 2, SIGUSR2, rt, SIGUSR1, rt + 1, rt, rt + 2})
        CHECK(to_process ? sigqueue(getpid(), signal, {}) == 0 : raise(signal) == 0);
    length = 0;
    block(SIG_UNBLOCK, {SIGUSR1, SIGUSR2, rt, rt + 1, rt + 2});
    CHECK(length == 14);
    printf("%.14s\n", order);
    // sigsuspend: all that its mask opens run before it returns.
    block(SIG_BLOCK, {SIGUSR1, SIGUSR2});
    for (int signal : {SIGUSR2, SIGUSR1})
        CHECK(to_process ? kill(getpid(), signal) == 0 : raise(signal) == 0);
    sigset_t none;
    sigfillset(&none);
    sigdelset(&none, SIGUSR1);
    sigdelset(&none, SIGUSR2);
    length = 0;
    CHECK(sigsuspend(&none) == -1 && errno == EINTR);
    printf("%.*s\n", (int)length, order);
    block(SIG_UNBLOCK, {SIGUSR1, SIGUSR2});
    return nullptr;
}

static std::atomic<int> turn;
static void waits_for_turn(int, siginfo_t*, void*) {
    turn = 1;
    while (turn != 2) {
    }
    handled++;
}
static void counts(int, siginfo_t*, void*) { (number == 7 ? handled : elsewhere)++; }

static void* takes_turn(void*) {
    while (turn != 1) sched_yield();
    turn = 2;
    return nullptr;
}
static pthread_key_t key;
static void at_end(void*) {
    CHECK(raise(SIGUSR1) == 0);  // in a destructor of a key
}
static void* raises_at_end(void*) {
    number = 7;
    CHECK(pthread_setspecific(key, &key) == 0);
    pthread_cleanup_push([](void*) { raise(SIGUSR1); }, nullptr);
    pthread_cancel(pthread_self());
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return nullptr;
}
static void* kills_process(void*) {
    number = 7;
    block(SIG_UNBLOCK, {SIGUSR1});
    for (int i = 1; i <= 50; i++) {
        const int before = handled;
        CHECK(kill(getpid(), SIGUSR1) == 0 && handled == before + 1);
        CHECK(sigqueue(getpid(), SIGUSR1, {}) == 0 && handled == before + 2);
    }
    return nullptr;
}
static sigjmp_buf back;
static void* aborts(void*) {
    number = 7;
    if (sigsetjmp(back, 1) == 0) abort();
    return nullptr;
}

static int status_of(void (*body)()) {
    fflush(stdout);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        const rlimit none = {};
        setrlimit(RLIMIT_CORE, &none);
        finish(start(
            [](void* f) -> void* {
                reinterpret_cast<void (*)()>(f)();
                return nullptr;
            },
            reinterpret_cast<void*>(body)));
        _exit(0);
    }
    return reap(pid);
}
static volatile int* nowhere;
static void faults(int, siginfo_t*, void*) { *nowhere = 1; }

int main() {
    CHECK(pthread_key_create(&key, at_end) == 0);
    const int rt = SIGRTMIN;
    for (int signal : {SIGUSR1, SIGUSR2, rt, rt + 1, rt + 2}) set(signal, appends, 0);
    block(SIG_BLOCK, {SIGUSR1, SIGUSR2, rt, rt + 1, rt + 2});
    finish(start(opens_all, nullptr));
    finish(start(opens_all, &key));

    set(SIGUSR1, waits_for_turn, SA_RESTART);
    pthread_t helper = start(takes_turn, nullptr);
    pthread_t t = start(
        [](void*) -> void* {
            block(SIG_UNBLOCK, {SIGUSR1});
            CHECK(raise(SIGUSR1) == 0 && handled == 1);
            return nullptr;
        },
        nullptr);
    finish(t);
    finish(helper);

    set(SIGUSR1, counts, SA_RESTART);
    handled = 0;
    finish(start(kills_process, nullptr));
    printf("%d before the return\n", (int)handled);
    handled = 0;
    t = start(
        [](void*) -> void* {
            block(SIG_UNBLOCK, {SIGUSR1});
            return raises_at_end(nullptr);
        },
        nullptr);
    CHECK(finish(t) == PTHREAD_CANCELED);
    printf("%d at the end, %d elsewhere\n", (int)handled, (int)elsewhere);
    set(
        SIGABRT,
        [](int, siginfo_t*, void*) {
            (number == 7 ? handled : elsewhere)++;
            siglongjmp(back, 1);
        },
        0);
    handled = 0;
    finish(start(aborts, nullptr));
    printf("abort: %d here, %d elsewhere\n", (int)handled, (int)elsewhere);
    signal(SIGABRT, SIG_DFL);

    printf("%x\n", status_of([] { abort(); }));
    printf("%x\n", status_of([] {
               set(SIGSEGV, faults, 0);  // faults again in its handler
               *nowhere = 1;
           }));
    printf("%x\n", status_of([] {
               set(SIGSEGV, faults, 0);
               block(SIG_BLOCK, {SIGSEGV});
               *nowhere = 1;
           }));
    printf("%x\n", status_of([] {
               set(SIGSEGV, faults, static_cast<int>(SA_RESETHAND | SA_NODEFER));
               *nowhere = 1;
           }));
    printf("%x\n", status_of([] {
               kill(getpid(), SIGTERM);
               pause();
           }));
    printf("%x\n", status_of([] { raise(SIGKILL); }));
    printf("%x\n", status_of([] { pthread_kill(pthread_self(), SIGRTMIN + 3); }));
    return 0;
}
