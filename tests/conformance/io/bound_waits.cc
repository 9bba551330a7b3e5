// A thread with its own timer slack waits in poll and epoll: for an event, a time, a handler and a
// cancellation, while the others go on.
// expect: fibers>=5 locked>=5 handoffs>=8 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

static int fds[2], instance;
static std::atomic<bool> is_over{false};

// What the kernel keeps for one thread binds it.
static void bind_self() { CHECK(prctl(PR_SET_TIMERSLACK, 60000UL) == 0); }

// One wait by either call; 1: an event, 0: the time is over, -1: EINTR.
static int wait_once(bool by_epoll, int timeout) {
    epoll_event event = {};
    pollfd one = {fds[0], POLLIN, 0};
    const int got = by_epoll ? epoll_wait(instance, &event, 1, timeout) : poll(&one, 1, timeout);
    if (got == 1) CHECK(by_epoll ? event.events == EPOLLIN : one.revents == POLLIN);
    if (got < 0) CHECK(errno == EINTR);
    return got;
}

static void* waits(void*) {
    bind_self();
    int events = 0, times = 0;
    for (int i = 0; i < 40; i++) {
        char byte;
        const bool by_epoll = i % 2 != 0;
        if (i % 10 < 2) {
            const int64_t start = now_ms();
            CHECK(wait_once(by_epoll, 20) == 0);
            times += now_ms() - start >= 19;
            continue;
        }
        put(fds[0], "?", 1);
        events += wait_once(by_epoll, i % 4 < 2 ? -1 : 20000);
        CHECK(take(fds[0], &byte, 1) == 1 && byte == '!');
    }
    printf("%d events, %d times\n", events, times);
    return nullptr;
}

static void on_signal(int) {}
static void* interrupted(void* by_epoll) {
    bind_self();
    const int got = wait_once(by_epoll != nullptr, -1);
    is_over = true;
    return (void*)(intptr_t)got;
}

static void* cancelled(void* by_epoll) {
    bind_self();
    wait_once(by_epoll != nullptr, -1);
    return nullptr;
}

int main() {
    unix_pair(fds);
    instance = epoll_create1(0);
    epoll_event event = {};
    event.events = EPOLLIN;
    CHECK(epoll_ctl(instance, EPOLL_CTL_ADD, fds[0], &event) == 0);
    pthread_t waiter = start(waits, nullptr);
    for (int i = 0; i < 32; i++) {
        char byte;
        CHECK(take(fds[1], &byte, 1) == 1 && byte == '?');
        if (i % 3 == 0) nap(2);
        put(fds[1], "!", 1);
    }
    finish(waiter);
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;  // these calls are never resumed
    CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
    for (intptr_t by_epoll = 0; by_epoll < 2; by_epoll++) {
        is_over = false;
        pthread_t one = start(interrupted, (void*)by_epoll);
        while (!is_over) {  // the first may come before the call
            pthread_kill(one, SIGUSR1);
            nap(2);
        }
        CHECK((int)(intptr_t)finish(one) == -1);
        pthread_t other = start(cancelled, (void*)by_epoll);
        if (by_epoll != 0) nap(5);  // in the call, or before it
        CHECK(pthread_cancel(other) == 0);
        CHECK(finish(other) == PTHREAD_CANCELED);
    }
    // What came for the others meanwhile is still there.
    put(fds[1], "!", 1);
    CHECK(wait_once(false, 20000) == 1 && wait_once(true, 20000) == 1);
    printf("done\n");
    return 0;
}
