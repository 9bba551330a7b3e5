// A thread that libc makes to notify (SIGEV_THREAD) can be cancelled in the calls that are
// cancellation points, before the program has threads of its own and beside them.
// flags: -lrt
// expect: fibers>=1 native_fallbacks=0
#include "../../support/twin.h"
#include <sys/epoll.h>
#include <sys/select.h>

static int fds[2], listener, ep;
static char byte;
static sem_t entered, left;
static pthread_t notifier;

struct Call {
    const char* name;
    void (*wait)();
};
static const Call calls[] = {
    {"read", [] { (void)!read(fds[0], &byte, 1); }},
    {"recv", [] { recv(fds[0], &byte, 1, 0); }},
    {"accept", [] { accept(listener, nullptr, nullptr); }},
    {"poll", [] { poll(nullptr, 0, -1); }},
    {"select", [] { select(0, nullptr, nullptr, nullptr, nullptr); }},
    {"epoll_wait",
     [] {
         epoll_event e;
         epoll_wait(ep, &e, 1, -1);
     }},
    {"clock_nanosleep",
     [] {
         timespec t = {1000, 0};
         clock_nanosleep(CLOCK_MONOTONIC, 0, &t, nullptr);
     }},
    {"sleep", [] { sleep(1000); }},
    {"pause", [] { pause(); }},
    {"sigsuspend",
     [] {
         sigset_t all;
         sigfillset(&all);
         sigsuspend(&all);
     }},
};

static void cleaned(void*) { sem_post(&left); }

static void notified(sigval value) {
    notifier = pthread_self();
    pthread_cleanup_push(cleaned, nullptr);
    sem_post(&entered);
    for (;;) calls[value.sival_int].wait();
    pthread_cleanup_pop(0);
}

static int cancelled_of_all() {
    int cancelled = 0;
    for (int i = 0; i < COUNT(calls); i++) {
        sigevent event = {};
        event.sigev_notify = SIGEV_THREAD;
        event.sigev_notify_function = notified;
        event.sigev_value.sival_int = i;
        timer_t timer;
        CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
        itimerspec at = {};
        at.it_value.tv_nsec = 1;
        CHECK(timer_settime(timer, 0, &at, nullptr) == 0);
        wait_sem(&entered);
        nap(2);
        CHECK(pthread_cancel(notifier) == 0);
        wait_sem(&left);
        cancelled++;
        CHECK(timer_delete(timer) == 0);
    }
    return cancelled;
}

static void* nothing(void* arg) { return arg; }

int main() {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0 && (ep = epoll_create1(0)) >= 0);
    listener = tcp_listen(1);
    CHECK(sem_init(&entered, 0, 0) == 0 && sem_init(&left, 0, 0) == 0);
    const pid_t child = fork();
    if (child == 0) _exit(cancelled_of_all());
    printf("without threads %d\n", reap(child) >> 8);
    finish(start(nothing, nullptr));
    printf("with threads %d\n", cancelled_of_all());
    return 0;
}
