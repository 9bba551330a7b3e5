// flags: -rdynamic -fno-optimize-sibling-calls
// backtrace() on threads, also inside signal handlers: the frames of the thread's own call chain
// are there, it ends in finite depth, and unwinding through the thread's first frame does not
// crash.
#include <execinfo.h>
#include <signal.h>
#include <stdlib.h>

#include "switching.h"

static int good, in_handler;

int count_frames_of(const char* name) {
    void* frames[100];
    int n = backtrace(frames, 100);
    CHECK(n > 0 && n < 100);
    char** symbols = backtrace_symbols(frames, n);
    CHECK(symbols != NULL);
    int found = 0;
    for (int i = 0; i < n; i++) found += strstr(symbols[i], name) != NULL;
    free(symbols);
    return found;
}

__attribute__((noinline)) int recursive_function(int depth) {
    if (depth > 0) {
        int below = recursive_function(depth - 1);
        __asm__ volatile("");  // keeps the call from becoming a loop
        return below;
    }
    move_about(4);
    return count_frames_of("recursive_function");
}

static void handler(int sig) {
    (void)sig;
    void* frames[100];
    int n = backtrace(frames, 100);
    if (n > 2 && n < 100) bump(&in_handler);
}

static void* body(void* unused) {
    (void)unused;
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(recursive_function(10), 11);
        CHECK_EQ(raise(SIGUSR1), 0);
        bump(&good);
    }
    return NULL;
}

int main(void) {
    void* warm[4];
    CHECK_GT(backtrace(warm, 4), 0);  // loads libgcc outside the handler
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = handler;
    CHECK_EQ(sigaction(SIGUSR1, &a, NULL), 0);
    pthread_t t[6];
    for (int i = 0; i < 6; i++) t[i] = spawn(body, NULL);
    for (int i = 0; i < 6; i++) join(t[i]);
    CHECK_EQ(recursive_function(10), 11);
    printf("good %d, in handlers %d\n", good, in_handler);
    return 0;
}
