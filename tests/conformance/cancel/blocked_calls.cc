// Deferred cancellation reaches a thread that waits in any of these calls: its clean-up handler
// runs in it, join returns PTHREAD_CANCELED.  The same holds when the request comes before the
// call.
// limit: 30
// expect: fibers>=50 native_fallbacks=0
#include "../../support/twin.h"
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include "../../support/cancelled_calls.h"
#include "../../support/waiting_calls.h"

static int pair_fds[2], listener, full[2], ep, queue_id;
static pid_t child;
static char buffer[1 << 16];

static const CancelledCall calls[] = {
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

int main() {
    begin_cancelling();
    const Holder holder = hold_lock(-1);
    child = holder.child;
    unix_pair(pair_fds);
    listener = tcp_listen(2);
    CHECK(pipe(full) == 0);
    fill_up(full[1], false);
    CHECK((ep = epoll_create1(0)) >= 0);
    CHECK((queue_id = msgget(IPC_PRIVATE, 0600)) >= 0);
    cancel_each(calls);
    CHECK(msgctl(queue_id, IPC_RMID, nullptr) == 0);
    let_go(holder);
    // Nothing that the cancelled calls waited for was consumed.
    put(pair_fds[1], "x", 1);
    CHECK(take(pair_fds[0], buffer, 1) == 1);
    return 0;
}
