// A handler without SA_RESTART ends a waiting read, recv, accept, write, poll, select, nanosleep
// and sem_wait with EINTR; with SA_RESTART the restartable ones go on, the others still give
// EINTR; condition waits and mutexes never show it.
// limit: 30
#include "../../support/twin.h"
#include <sys/epoll.h>
#include <sys/select.h>
#include "../../support/interrupted_calls.h"
#include "../../support/waiting_calls.h"

static int fds[2], listener, full[2], ep;
static sem_t never, entered;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static bool flag;
static char buffer[1 << 16];

static void send_byte() { put(fds[1], "r", 1); }
static void drain() { CHECK(read(full[0], buffer, sizeof buffer) > 0); }
static void set_flag() {
    pthread_mutex_lock(&mutex);
    flag = true;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
}
static const InterruptedCall calls[] = {
    {"read", true, [] { return (long)read(fds[0], buffer, 1); }, send_byte},
    {"recv", true, [] { return (long)recv(fds[0], buffer, 1, 0); }, send_byte},
    {"recvmsg", true,
     [] {
         iovec v = {buffer, 1};
         msghdr m = {};
         m.msg_iov = &v;
         m.msg_iovlen = 1;
         return (long)recvmsg(fds[0], &m, 0);
     },
     send_byte},
    {"write", true, [] { return (long)write(full[1], "w", 1); }, drain},
    {"accept", true,
     [] {
         int c = accept(listener, nullptr, nullptr);
         if (c >= 0) close(c);
         return c >= 0 ? 1L : -1L;
     },
     [] { close(tcp_connect(port_of(listener))); }},
    {"sem_wait", true, [] { return sem_wait(&never) == 0 ? 1L : -1L; }, [] { sem_post(&never); }},
    {"poll", false,
     [] {
         pollfd p = {fds[0], POLLIN, 0};
         return (long)poll(&p, 1, -1);
     }},
    {"select", false,
     [] {
         fd_set r;
         FD_ZERO(&r);
         FD_SET(fds[0], &r);
         return (long)select(fds[0] + 1, &r, nullptr, nullptr, nullptr);
     }},
    {"epoll_wait", false,
     [] {
         epoll_event e;
         return (long)epoll_wait(ep, &e, 1, -1);
     }},
    {"nanosleep", false,
     [] {
         timespec t = {30, 0}, left = {};
         int n = nanosleep(&t, &left);
         CHECK(n == -1 && left.tv_sec >= 1 && left.tv_sec < 30);
         return (long)n;
     }},
    {"clock_nanosleep", false,
     [] {
         timespec t = after_ms(CLOCK_MONOTONIC, 30000);
         errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr);
         return errno ? -1L : 1L;
     }},
    {"pause", false, [] { return (long)pause(); }},
};

static void* cond_waiter(void*) {
    pthread_mutex_lock(&mutex);
    sem_post(&entered);
    while (!flag) CHECK(pthread_cond_wait(&cond, &mutex) == 0);
    pthread_mutex_unlock(&mutex);
    return nullptr;
}
static void* mutex_waiter(void*) {
    sem_post(&entered);
    CHECK(pthread_mutex_lock(&mutex) == 0);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    return nullptr;
}

int main() {
    CHECK(sem_init(&never, 0, 0) == 0 && sem_init(&entered, 0, 0) == 0);
    unix_pair(fds);
    listener = tcp_listen(4);
    CHECK(pipe(full) == 0);
    fill_up(full[1], false);
    CHECK((ep = epoll_create1(0)) >= 0);
    for (const InterruptedCall& c : calls) {
        interrupt_call(c, false);
        interrupt_call(c, true);
        if (strcmp(c.name, "write") == 0) CHECK(fcntl(full[1], F_GETFL) == O_WRONLY);
    }
    pthread_t t = start(cond_waiter, nullptr);
    wait_sem(&entered);
    for (int i = 0; i < 5; i++) {
        nap(2);
        CHECK(pthread_kill(t, SIGUSR1) == 0);
    }
    set_flag();
    finish(t);
    pthread_mutex_lock(&mutex);
    t = start(mutex_waiter, nullptr);
    wait_sem(&entered);
    for (int i = 0; i < 5; i++) {
        nap(2);
        CHECK(pthread_kill(t, SIGUSR1) == 0);
    }
    pthread_mutex_unlock(&mutex);
    finish(t);
    puts("condition and mutex never showed it");
    return 0;
}
