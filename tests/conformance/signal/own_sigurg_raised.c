// A program that owns SIGURG gets each one that a thread raises, before raise returns, while others
// send that thread another signal all the time: what tells it of those is no SIGURG to the program,
// and takes no place of one.
// expect: fibers>=3 native_fallbacks=0
#include "../../support/twin.h"

#include <stdatomic.h>

enum { kMost = 20000, kLeast = 100, kMs = 500 };

static atomic_int urgent, other;
static atomic_bool stop, done;

static void on_urgent(int signal) {
    CHECK(signal == SIGURG);
    urgent++;
}

static void on_other(int signal) {
    CHECK(signal == SIGUSR1);
    other++;
}

static void* raise_all(void* argument) {
    (void)argument;
    const int64_t end = now_ms() + kMs;
    int raised = 0;
    while (raised < kLeast || (raised < kMost && now_ms() < end)) {
        CHECK(raise(SIGURG) == 0);
        CHECK(urgent == ++raised);
    }
    done = 1;
    return NULL;
}

static void* disturb(void* target) {
    while (!stop) CHECK(pthread_kill(*(pthread_t*)target, SIGUSR1) == 0);
    return NULL;
}

int main(void) {
    struct sigaction action = {0};
    action.sa_flags = SA_RESTART;
    action.sa_handler = on_urgent;
    CHECK(sigaction(SIGURG, &action, NULL) == 0);
    action.sa_handler = on_other;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    pthread_t target = start(raise_all, NULL);
    pthread_t senders[2] = {start(disturb, &target), start(disturb, &target)};
    // Nobody sends to a thread that was joined: it ends after the senders have.
    while (!done) nap(1);
    stop = 1;
    for (int i = 0; i < COUNT(senders); i++) finish(senders[i]);
    finish(target);
    CHECK(urgent >= kLeast && other > 0);
    puts("each was handled before raise returned");
    return 0;
}
