// Deferred cancellation reaches a thread that waits in any of these calls: its clean-up handler
// runs in it, join returns PTHREAD_CANCELED.  The same holds when the request comes before the
// call.
// limit: 30
// expect: fibers>=50 native_fallbacks=0
#include "../../support/twin.h"
#include <mqueue.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>

static int pair_fds[2], listener, full[2], ep, queue_id;
static sem_t never, entered;
static pthread_t forever;
static pid_t child;
static char buffer[1 << 16];
static __thread int own;
static int cleaned;

struct Call {
    const char* name;
    void (*wait)();
};
static const Call calls[] = {
    {"read", [] { (void)!read(pair_fds[0], buffer, 1); }},
    {"readv",
     [] {
         iovec v = {buffer, 1};
         (void)!readv(pair_fds[0], &v, 1);
     }},
    {"recv", [] { recv(pair_fds[0], buffer, 1, 0); }},
    {"recvfrom", [] { recvfrom(pair_fds[0], buffer, 1, 0, nullptr, nullptr); }},
    {"recvmsg",
     [] {
         iovec v = {buffer, 1};
         msghdr m = {};
         m.msg_iov = &v;
         m.msg_iovlen = 1;
         recvmsg(pair_fds[0], &m, 0);
     }},
    {"write", [] { (void)!write(full[1], "w", 1); }},
    {"accept", [] { accept(listener, nullptr, nullptr); }},
    {"accept4", [] { accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); }},
    {"poll",
     [] {
         pollfd p = {pair_fds[0], POLLIN, 0};
         poll(&p, 1, -1);
     }},
    {"ppoll", [] { ppoll(nullptr, 0, nullptr, nullptr); }},
    {"select", [] { select(0, nullptr, nullptr, nullptr, nullptr); }},
    {"pselect", [] { pselect(0, nullptr, nullptr, nullptr, nullptr, nullptr); }},
    {"epoll_wait",
     [] {
         epoll_event e;
         epoll_wait(ep, &e, 1, -1);
     }},
    {"nanosleep",
     [] {
         timespec t = {100, 0};
         nanosleep(&t, nullptr);
     }},
    {"clock_nanosleep",
     [] {
         timespec t = {100, 0};
         clock_nanosleep(CLOCK_MONOTONIC, 0, &t, nullptr);
     }},
    {"sleep", [] { sleep(100); }},
    {"usleep", [] { usleep(100000000); }},
    {"sem_wait", [] { sem_wait(&never); }},
    {"sem_timedwait",
     [] {
         timespec t = after_ms(CLOCK_REALTIME, 100000);
         sem_timedwait(&never, &t);
     }},
    {"pthread_join", [] { pthread_join(forever, nullptr); }},
    {"sigwait",
     [] {
         sigset_t s;
         int sig;
         sigemptyset(&s);
         sigaddset(&s, SIGUSR1);
         sigwait(&s, &sig);
     }},
    {"pause", [] { pause(); }},
    {"sigsuspend",
     [] {
         sigset_t s;
         sigemptyset(&s);
         sigsuspend(&s);
     }},
    {"waitpid", [] { waitpid(child, nullptr, 0); }},
    {"msgrcv", [] { msgrcv(queue_id, buffer, 8, 0, 0); }},
};

static void on_cancel(void* arg) {
    own++;
    cleaned += (intptr_t)arg;
}

static const Call* current;
static bool before;
static sem_t requested;

static void* body(void*) {
    pthread_cleanup_push(on_cancel, (void*)1);
    sem_post(&entered);
    if (before) {
        // With cancellation disabled the request waits for the call.
        int old;
        CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old) == 0);
        wait_sem(&requested);
        CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr) == 0);
    }
    current->wait();
    pthread_cleanup_pop(0);
    return nullptr;
}

static void* forever_body(void*) {
    wait_sem(&never);
    return nullptr;
}

int main() {
    CHECK(sem_init(&never, 0, 0) == 0 && sem_init(&entered, 0, 0) == 0);
    CHECK(sem_init(&requested, 0, 0) == 0);
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &s, nullptr);
    int hold[2];
    CHECK(pipe2(hold, O_CLOEXEC) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(hold[1]);
        char c;
        _exit((int)take(hold[0], &c, 1));
    }
    unix_pair(pair_fds);
    listener = tcp_listen(2);
    CHECK(pipe2(full, O_NONBLOCK) == 0);
    while (write(full[1], buffer, 4096) > 0) {
    }
    CHECK(fcntl(full[1], F_SETFL, 0) == 0);
    CHECK((ep = epoll_create1(0)) >= 0);
    CHECK((queue_id = msgget(IPC_PRIVATE, 0600)) >= 0);
    forever = start(forever_body, nullptr);
    int right = 0;
    for (const Call& c : calls) {
        current = &c;
        for (int pass = 0; pass < 2; pass++) {
            before = pass == 1;
            pthread_t t = start(body, nullptr);
            wait_sem(&entered);
            if (!before) nap(8);
            CHECK(pthread_cancel(t) == 0);
            if (before) sem_post(&requested);
            bool ok = finish(t) == PTHREAD_CANCELED;
            if (!ok) dprintf(2, "%s was not cancelled\n", c.name);
            right += ok;
        }
        printf("%s\n", c.name);
    }
    CHECK(msgctl(queue_id, IPC_RMID, nullptr) == 0);
    sem_post(&never);
    finish(forever);
    close(hold[1]);
    CHECK(exited_with(reap(child), 0));
    // Nothing that the cancelled calls waited for was consumed.
    put(pair_fds[1], "x", 1);
    CHECK(take(pair_fds[0], buffer, 1) == 1);
    CHECK(own == 0);
    printf("%d cancelled, %d cleaned up\n", right, cleaned);
    return right != 2 * COUNT(calls) || cleaned != right;
}
