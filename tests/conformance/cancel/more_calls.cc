// Deferred cancellation reaches a thread in the less common of the calls that wait, whether it
// comes before or during the call: locks on files, queues of messages, children, signals, special
// descriptors, bytes that move in the kernel, system, conditions with a time.
//
// limit: 40
// expect: fibers>=60 native_fallbacks=0
#include "../../support/twin.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <threads.h>
#include "../../support/cancelled_calls.h"
#include "../../support/waiting_calls.h"

static int pair_fds[2], full_pair[2], full[2], empty[2], ep, queue_id, lock_fd, event, timer,
    signals;
static mqd_t queue, full_queue;
static pid_t child;
static char buffer[1 << 16], message[64];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static mtx_t c11_mutex;
static cnd_t c11_cond;

static const CancelledCall calls[] = {
    {"send", [] { send(full_pair[1], buffer, sizeof buffer, 0); }},
    {"sendto", [] { sendto(full_pair[1], buffer, sizeof buffer, 0, nullptr, 0); }},
    {"sendmsg",
     [] {
         iovec v = {buffer, sizeof buffer};
         msghdr m = {};
         m.msg_iov = &v;
         m.msg_iovlen = 1;
         sendmsg(full_pair[1], &m, 0);
     }},
    {"writev",
     [] {
         iovec v = {buffer, 1};
         (void)!writev(full[1], &v, 1);
     }},
    {"recvmmsg",
     [] {
         iovec v = {buffer, 1};
         mmsghdr m = {};
         m.msg_hdr.msg_iov = &v;
         m.msg_hdr.msg_iovlen = 1;
         recvmmsg(pair_fds[0], &m, 1, 0, nullptr);
     }},
    {"open of a FIFO", [] { open("fifo", O_RDONLY); }},
    {"F_SETLKW",
     [] {
         struct flock l = {};
         l.l_type = F_WRLCK;
         fcntl(lock_fd, F_SETLKW, &l);
     }},
    {"lockf", [] { (void)!lockf(lock_fd, F_LOCK, 1); }},
    {"epoll_pwait",
     [] {
         epoll_event e;
         sigset_t s;
         sigemptyset(&s);
         epoll_pwait(ep, &e, 1, -1, &s);
     }},
    {"sigwaitinfo",
     [] {
         sigset_t s;
         sigemptyset(&s);
         sigaddset(&s, SIGUSR1);
         sigwaitinfo(&s, nullptr);
     }},
    {"sigtimedwait",
     [] {
         sigset_t s;
         timespec t = {100, 0};
         sigemptyset(&s);
         sigaddset(&s, SIGUSR1);
         sigtimedwait(&s, nullptr, &t);
     }},
    {"wait", [] { wait(nullptr); }},
    {"waitid",
     [] {
         siginfo_t info;
         waitid(P_PID, (id_t)child, &info, WEXITED);
     }},
    {"wait4", [] { wait4(child, nullptr, 0, nullptr); }},
    {"msgsnd", [] { msgsnd(queue_id, message, sizeof message - sizeof(long), 0); }},
    {"mq_receive", [] { mq_receive(queue, buffer, sizeof buffer, nullptr); }},
    {"mq_timedreceive",
     [] {
         timespec t = after_ms(CLOCK_REALTIME, 100000);
         mq_timedreceive(queue, buffer, sizeof buffer, nullptr, &t);
     }},
    {"mq_send", [] { mq_send(full_queue, "m", 1, 0); }},
    {"mq_timedsend",
     [] {
         timespec t = after_ms(CLOCK_REALTIME, 100000);
         mq_timedsend(full_queue, "m", 1, 0, &t);
     }},
    {"sem_clockwait",
     [] {
         timespec t = after_ms(CLOCK_MONOTONIC, 100000);
         sem_clockwait(&never, CLOCK_MONOTONIC, &t);
     }},
    {"pthread_timedjoin_np",
     [] {
         timespec t = after_ms(CLOCK_REALTIME, 100000);
         pthread_timedjoin_np(forever, nullptr, &t);
     }},
    {"pthread_clockjoin_np",
     [] {
         timespec t = after_ms(CLOCK_MONOTONIC, 100000);
         pthread_clockjoin_np(forever, nullptr, CLOCK_MONOTONIC, &t);
     }},
    {"thrd_sleep",
     [] {
         timespec t = {100, 0};
         thrd_sleep(&t, nullptr);
     }},
    {"eventfd", [] { (void)!read(event, buffer, 8); }},
    {"timerfd", [] { (void)!read(timer, buffer, 8); }},
    {"signalfd", [] { (void)!read(signals, buffer, sizeof(signalfd_siginfo)); }},
    {"splice", [] { splice(empty[0], nullptr, full[1], nullptr, 1, 0); }},
    {"tee", [] { tee(empty[0], full[1], 1, 0); }},
    {"vmsplice",
     [] {
         iovec v = {buffer, 1};
         vmsplice(full[1], &v, 1, 0);
     }},
    {"fgetc",
     [] {
         FILE* f = fdopen(dup(empty[0]), "r");
         fgetc(f);
     }},
    {"system", [] { (void)!system("exec sleep 100"); }},
    {"pthread_cond_timedwait",
     [] {
         timespec t = after_ms(CLOCK_REALTIME, 100000);
         pthread_mutex_lock(&mutex);
         pthread_cleanup_push(
             [](void*) {
                 // Taken again before the clean-up handler.
                 CHECK(pthread_mutex_trylock(&mutex) == EBUSY);
                 CHECK(pthread_mutex_unlock(&mutex) == 0);
             },
             nullptr);
         while (pthread_cond_timedwait(&cond, &mutex, &t) == 0) {
         }
         pthread_cleanup_pop(1);
     }},
    {"cnd_wait",
     [] {
         mtx_lock(&c11_mutex);
         while (cnd_wait(&c11_cond, &c11_mutex) == thrd_success) {
         }
     },
     [] { mtx_unlock(&c11_mutex); }},
};

int main() {
    begin_cancelling();
    CHECK(mtx_init(&c11_mutex, mtx_plain) == thrd_success && cnd_init(&c11_cond) == thrd_success);
    char name[] = "lockXXXXXX";
    lock_fd = mkstemp(name);
    CHECK(lock_fd >= 0 && mkfifo("fifo", 0600) == 0);
    const Holder holder = hold_lock(lock_fd);
    child = holder.child;
    unix_pair(pair_fds);
    unix_pair(full_pair);
    fill_up(full_pair[1], true);
    CHECK(pipe(full) == 0 && pipe(empty) == 0);
    fill_up(full[1], false);
    CHECK((ep = epoll_create1(0)) >= 0);
    CHECK((queue_id = msgget(IPC_PRIVATE, 0600)) >= 0);
    message[0] = 1;
    while (msgsnd(queue_id, message, sizeof message - sizeof(long), IPC_NOWAIT) == 0) {
    }
    queue = make_queue("empty");
    full_queue = make_queue("full");
    CHECK(mq_send(full_queue, "m", 1, 0) == 0);
    CHECK((event = eventfd(0, 0)) >= 0 && (timer = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    CHECK((signals = signalfd(-1, &s, 0)) >= 0);
    cancel_each(calls);
    CHECK(msgctl(queue_id, IPC_RMID, nullptr) == 0);
    let_go(holder);
    return 0;
}
