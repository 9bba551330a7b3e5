// Faults and signals of their numbers at their default action end the process as they do natively,
// on any thread; ignored, blocked and reset dispositions too.
// expect: fibers>=0
#include "../../support/twin.h"
#include <sys/mman.h>
#include <sys/resource.h>

static volatile int* volatile nowhere;
static volatile int* const kNowhere = (int*)16;
static char* past_the_end;

static void touches_nowhere(void) {
    nowhere = kNowhere;
    *nowhere = 1;
}
static void touches_past_end(void) { *past_the_end = 1; }
static void raises_segv(void) { raise(SIGSEGV); }
static void raises_bus(void) { raise(SIGBUS); }
static void kills_segv(void) {
    kill(getpid(), SIGSEGV);
    for (;;) pause();
}
static void kills_bus_itself(void) { pthread_kill(pthread_self(), SIGBUS); }
static int handled;
static void notes(int signal) {
    (void)signal;
    handled++;
}
static void resets(void) {
    struct sigaction a = {.sa_handler = notes, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGSEGV, &a, NULL);
    touches_nowhere();  // the handler returns to the fault
}
static void resets_sent(void) {
    struct sigaction a = {.sa_handler = notes, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGSEGV, &a, NULL);
    raise(SIGSEGV);
    if (handled != 1) _exit(9);
    raise(SIGSEGV);
}
static void ignores_sent(void) {
    signal(SIGSEGV, SIG_IGN);
    raise(SIGSEGV);
    kill(getpid(), SIGSEGV);
    _exit(3);
}
static void ignores_fault(void) {
    signal(SIGSEGV, SIG_IGN);
    touches_nowhere();
}
static void blocks_sent(void) {
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise(SIGSEGV);
    sigpending(&pending);
    if (!sigismember(&pending, SIGSEGV)) _exit(9);
    _exit(4);
}
static void unblocks(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise(SIGSEGV);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    for (;;) pause();
}
static int recurse(int n) {
    volatile char room[4096];
    room[0] = (char)n;
    return n == 0 ? 0 : recurse(n + 1) + room[0];
}
static void overflows(void) { recurse(1); }
static void asks(void) {
    struct sigaction a;
    sigaction(SIGSEGV, NULL, &a);
    _exit(a.sa_handler == SIG_DFL ? 5 : 6);
}
static void executes(void) {
    signal(SIGBUS, SIG_IGN);
    execl("/bin/sh", "sh", "-c", "grep SigIgn /proc/self/status | tr -d '\\n'; kill -SEGV $$",
          (char*)NULL);
}

static void* on_thread(void* act) {
    ((void (*)(void))act)();
    return NULL;
}
static void* idles(void* unused) {
    while (unused == NULL) pause();
    return NULL;
}

static void expect(const char* what, void (*act)(void), int thread) {
    fflush(stdout);
    pid_t child = fork();
    CHECK_GE(child, 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        start(idles, NULL);
        if (thread)
            finish(start(on_thread, (void*)act));
        else
            act();
        _exit(0);
    }
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status))
        printf("%s: signal %d\n", what, WTERMSIG(status));
    else
        printf("%s: exit %d\n", what, WEXITSTATUS(status));
}
#define EXPECT(act)           \
    do {                      \
        expect(#act, act, 0); \
        expect(#act, act, 1); \
    } while (0)

int main(void) {
    char name[] = "/tmp/fault_default.XXXXXX";
    int file = mkstemp(name);
    CHECK_GE(file, 0);
    unlink(name);
    past_the_end = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(past_the_end != MAP_FAILED);
    EXPECT(touches_nowhere);
    EXPECT(touches_past_end);
    EXPECT(raises_segv);
    EXPECT(raises_bus);
    EXPECT(kills_segv);
    EXPECT(kills_bus_itself);
    EXPECT(resets);
    EXPECT(resets_sent);
    EXPECT(ignores_sent);
    EXPECT(ignores_fault);
    EXPECT(blocks_sent);
    EXPECT(unblocks);
    EXPECT(overflows);
    EXPECT(asks);
    EXPECT(executes);
    return 0;
}
