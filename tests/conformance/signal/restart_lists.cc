// signal(7)'s two lists, call by call: which of them go on after a handler with SA_RESTART, and
// that all of them end with EINTR after one without.  A call that goes on is ended by cancellation.
//
// limit: 60
// expect: fibers>=80 native_fallbacks=0
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include "../../support/twin.h"
#include <threads.h>
#include "../../support/interrupted_calls.h"
#include "../../support/waiting_calls.h"

static int pair_fds[2], timed[2], full_pair[2], timed_full[2], full[2], listener, timed_listener;
static int ep, queue_id, full_id, set_id, lock_fd, event, timer, watch, udp;
static mqd_t queue, full_queue;
static sem_t never;
static pid_t child;
static char buffer[1 << 16], message[64];

static long negative(int error) {  // of a call that returns its error
    errno = error;
    return error != 0 ? -1 : 0;
}
static timespec far(clockid_t clock) { return after_ms(clock, 100000); }
static const timespec kLong = {100, 0};

static const InterruptedCall calls[] = {
    {"readv", true,
     [] {
         iovec v = {buffer, 1};
         return (long)readv(pair_fds[0], &v, 1);
     }},
    {"writev", true,
     [] {
         iovec v = {buffer, 1};
         return (long)writev(full[1], &v, 1);
     }},
    {"recvfrom", true, [] { return (long)recvfrom(udp, buffer, 1, 0, nullptr, nullptr); }},
    {"recvmmsg", true,
     [] {
         iovec v = {buffer, 1};
         mmsghdr m = {};
         m.msg_hdr.msg_iov = &v;
         m.msg_hdr.msg_iovlen = 1;
         return (long)recvmmsg(pair_fds[0], &m, 1, 0, nullptr);
     }},
    {"send", true, [] { return (long)send(full_pair[1], buffer, 1, 0); }},
    {"sendto", true, [] { return (long)sendto(full_pair[1], buffer, 1, 0, nullptr, 0); }},
    {"sendmsg", true,
     [] {
         iovec v = {buffer, 1};
         msghdr m = {};
         m.msg_iov = &v;
         m.msg_iovlen = 1;
         return (long)sendmsg(full_pair[1], &m, 0);
     }},
    {"accept4", true, [] { return (long)accept4(listener, nullptr, nullptr, 0); }},
    {"open of a FIFO", true, [] { return (long)open("fifo", O_RDONLY); }},
    {"wait", true, [] { return (long)wait(nullptr); }},
    {"waitpid", true, [] { return (long)waitpid(child, nullptr, 0); }},
    {"wait4", true, [] { return (long)wait4(child, nullptr, 0, nullptr); }},
    {"waitid", true,
     [] {
         siginfo_t info;
         return (long)waitid(P_PID, (id_t)child, &info, WEXITED);
     }},
    {"F_SETLKW", true,
     [] {
         struct flock l = {};
         l.l_type = F_WRLCK;
         return (long)fcntl(lock_fd, F_SETLKW, &l);
     }},
    {"lockf", true, [] { return (long)lockf(lock_fd, F_LOCK, 1); }},
    {"mq_receive", true, [] { return (long)mq_receive(queue, buffer, sizeof buffer, nullptr); }},
    {"mq_timedreceive", true,
     [] {
         const timespec t = far(CLOCK_REALTIME);
         return (long)mq_timedreceive(queue, buffer, sizeof buffer, nullptr, &t);
     }},
    {"mq_send", true, [] { return (long)mq_send(full_queue, "m", 1, 0); }},
    {"mq_timedsend", true,
     [] {
         const timespec t = far(CLOCK_REALTIME);
         return (long)mq_timedsend(full_queue, "m", 1, 0, &t);
     }},
    {"sem_timedwait", false,
     [] {
         const timespec t = far(CLOCK_REALTIME);
         return (long)sem_timedwait(&never, &t);
     }},
    {"sem_clockwait", false,
     [] {
         const timespec t = far(CLOCK_MONOTONIC);
         return (long)sem_clockwait(&never, CLOCK_MONOTONIC, &t);
     }},
    {"eventfd", true, [] { return (long)read(event, buffer, 8); }},
    {"timerfd", true, [] { return (long)read(timer, buffer, 8); }},
    {"inotify", true, [] { return (long)read(watch, buffer, sizeof buffer); }},
    {"splice", true, [] { return (long)splice(pair_fds[0], nullptr, full[1], nullptr, 1, 0); }},
    {"read with SO_RCVTIMEO", false, [] { return (long)read(timed[0], buffer, 1); }},
    {"recvfrom with SO_RCVTIMEO", false,
     [] { return (long)recvfrom(timed[0], buffer, 1, 0, nullptr, nullptr); }},
    {"recvmsg with SO_RCVTIMEO", false,
     [] {
         iovec v = {buffer, 1};
         msghdr m = {};
         m.msg_iov = &v;
         m.msg_iovlen = 1;
         return (long)recvmsg(timed[0], &m, 0);
     }},
    {"accept4 with SO_RCVTIMEO", false,
     [] { return (long)accept4(timed_listener, nullptr, nullptr, 0); }},
    {"send with SO_SNDTIMEO", false, [] { return (long)send(timed_full[1], buffer, 1, 0); }},
    {"write with SO_SNDTIMEO", false, [] { return (long)write(timed_full[1], buffer, 1); }},
    {"sendmsg with SO_SNDTIMEO", false,
     [] {
         iovec v = {buffer, 1};
         msghdr m = {};
         m.msg_iov = &v;
         m.msg_iovlen = 1;
         return (long)sendmsg(timed_full[1], &m, 0);
     }},
    {"sigsuspend", false,
     [] {
         sigset_t s;
         sigemptyset(&s);
         return (long)sigsuspend(&s);
     }},
    {"sigwaitinfo", false,
     [] {
         sigset_t s;
         sigemptyset(&s);
         sigaddset(&s, SIGUSR2);
         return (long)sigwaitinfo(&s, nullptr);
     }},
    {"ppoll", false,
     [] {
         pollfd p = {pair_fds[0], POLLIN, 0};
         return (long)ppoll(&p, 1, &kLong, nullptr);
     }},
    {"ppoll with a mask", false,
     [] {
         pollfd p = {pair_fds[0], POLLIN, 0};
         sigset_t s;
         sigemptyset(&s);
         return (long)ppoll(&p, 1, nullptr, &s);
     }},
    {"pselect", false,
     [] {
         fd_set r;
         FD_ZERO(&r);
         FD_SET(pair_fds[0], &r);
         return (long)pselect(pair_fds[0] + 1, &r, nullptr, nullptr, &kLong, nullptr);
     }},
    {"epoll_pwait", false,
     [] {
         epoll_event e;
         sigset_t s;
         sigemptyset(&s);
         return (long)epoll_pwait(ep, &e, 1, 100000, &s);
     }},
    {"msgrcv", false, [] { return (long)msgrcv(queue_id, buffer, 8, 0, 0); }},
    {"msgsnd", false,
     [] { return (long)msgsnd(full_id, message, sizeof message - sizeof(long), 0); }},
    {"semop", false,
     [] {
         sembuf b = {0, -1, 0};
         return (long)semop(set_id, &b, 1);
     }},
    {"semtimedop", false,
     [] {
         sembuf b = {0, -1, 0};
         return (long)semtimedop(set_id, &b, 1, &kLong);
     }},
    {"clock_nanosleep", false,
     [] { return negative(clock_nanosleep(CLOCK_REALTIME, 0, &kLong, nullptr)); }},
    {"thrd_sleep", false,
     [] {
         errno = EINTR;
         return (long)thrd_sleep(&kLong, nullptr);
     }},
};
int main() {
    CHECK(sem_init(&never, 0, 0) == 0);
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &s, nullptr);
    char name[] = "lockXXXXXX";
    lock_fd = mkstemp(name);
    CHECK(lock_fd >= 0 && mkfifo("fifo", 0600) == 0);
    const Holder holder = hold_lock(lock_fd);
    child = holder.child;
    unix_pair(pair_fds);
    unix_pair(timed);
    unix_pair(full_pair);
    unix_pair(timed_full);
    fill_up(full_pair[1], true);
    fill_up(timed_full[1], true);
    CHECK(pipe(full) == 0);
    fill_up(full[1], false);
    listener = tcp_listen(2);
    timed_listener = tcp_listen(2);
    CHECK((udp = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
    const timeval t = {100, 0};
    for (int fd : {timed[0], timed_listener})
        CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0);
    CHECK(setsockopt(timed_full[1], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t) == 0);
    CHECK((ep = epoll_create1(0)) >= 0 && (watch = inotify_init()) >= 0);
    CHECK((queue_id = msgget(IPC_PRIVATE, 0600)) >= 0 &&
          (full_id = msgget(IPC_PRIVATE, 0600)) >= 0);
    CHECK((set_id = semget(IPC_PRIVATE, 1, 0600)) >= 0);
    message[0] = 1;
    while (msgsnd(full_id, message, sizeof message - sizeof(long), IPC_NOWAIT) == 0) {
    }
    queue = make_queue("empty");
    full_queue = make_queue("full");
    CHECK(mq_send(full_queue, "m", 1, 0) == 0);
    CHECK((event = eventfd(0, 0)) >= 0 && (timer = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
    for (const InterruptedCall& one : calls) {
        interrupt_call(one, false);
        interrupt_call(one, true);
    }
    CHECK(msgctl(queue_id, IPC_RMID, nullptr) == 0 && msgctl(full_id, IPC_RMID, nullptr) == 0);
    CHECK(semctl(set_id, 0, IPC_RMID) == 0);
    let_go(holder);
    return 0;
}
