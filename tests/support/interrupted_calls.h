// One call after the other is interrupted by SIGUSR1 while it waits.  Include twin.h first.
#pragma once
#include <atomic>

struct InterruptedCall {
    const char* name;
    bool restarts;  // with SA_RESTART
    long (*call)();
    void (*release)() = nullptr;  // lets a restarted call end with 1; without it, it is cancelled
};

namespace interrupted_calls {

static std::atomic<int> handled, returned;
static sem_t entered;
static const InterruptedCall* current;
static long result;
static int code;

static void handler(int) { handled++; }

static void* caller(void*) {
    sem_post(&entered);
    result = current->call();
    code = errno;
    returned = 1;
    return nullptr;
}

static void end(pthread_t thread, const InterruptedCall& one) {
    const bool has_ended = returned;
    if (has_ended) dprintf(2, "%s: result %ld, errno %d\n", one.name, result, code);
    CHECK(!has_ended);
    if (one.release == nullptr) {
        CHECK(pthread_cancel(thread) == 0);
        CHECK(finish(thread) == PTHREAD_CANCELED);
        return;
    }
    one.release();
    finish(thread);
    CHECK(result == 1);
}

}  // namespace interrupted_calls

// Signals until the handler has run while the call was waiting: a call that a signal may end ends.
static void interrupt_call(const InterruptedCall& one, bool restart) {
    using namespace interrupted_calls;
    struct sigaction a = {};
    a.sa_handler = handler;
    a.sa_flags = restart ? SA_RESTART : 0;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
    CHECK(sem_init(&entered, 0, 0) == 0);
    current = &one;
    returned = handled = 0;
    const pthread_t thread = start(caller, nullptr);
    wait_sem(&entered);
    const bool goes_on = restart && one.restarts;
    for (int i = 0; i < 2000 && !returned && !(goes_on && i >= 4 && handled > 0); i++) {
        nap(4);
        CHECK(pthread_kill(thread, SIGUSR1) == 0);
    }
    nap(2);
    if (goes_on) {
        end(thread, one);
    } else {
        finish(thread);
        CHECK(result == -1 && code == EINTR);
    }
    CHECK(handled >= 1);
    printf("%s%s: %s\n", one.name, restart ? " with SA_RESTART" : "",
           goes_on ? "goes on" : "EINTR");
}
