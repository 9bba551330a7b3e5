// Calls that a handler ends with EINTR in spite of SA_RESTART: sockets with a timeout, waits with
// a time, message queues of System V, semop; and what partly done transfers report instead.
#include "../../support/twin.h"
#include <sys/msg.h>
#include <sys/sem.h>
#include "../../support/interrupted_calls.h"

static int fds[2], listener, queue_id, set_id;
static char big[4 << 20];

static const InterruptedCall calls[] = {
    {"recv with SO_RCVTIMEO", false, [] { return (long)recv(fds[0], big, 1, 0); }},
    {"accept with SO_RCVTIMEO", false, [] { return (long)accept(listener, nullptr, nullptr); }},
    {"msgrcv", false, [] { return (long)msgrcv(queue_id, big, 8, 0, 0); }},
    {"semop", false,
     [] {
         sembuf b = {0, -1, 0};
         return (long)semop(set_id, &b, 1);
     }},
    {"poll with a time", false, [] { return (long)poll(nullptr, 0, 60000); }},
    {"usleep", false, [] { return (long)usleep(60000000); }},
    {"sigtimedwait", false,
     [] {
         sigset_t s;
         sigemptyset(&s);
         sigaddset(&s, SIGUSR2);
         timespec t = {60, 0};
         return (long)sigtimedwait(&s, nullptr, &t);
     }},
};
static std::atomic<long> sent;
static void* sender(void*) {
    ssize_t n = send(fds[1], big, sizeof big, 0);
    sent = n;
    return nullptr;
}
static std::atomic<bool> slept;
static void* sleeper(void*) {
    unsigned left = sleep(60);
    slept = true;
    return (void*)(intptr_t)(left > 0 && left <= 60);
}

int main() {
    sigset_t two;
    sigemptyset(&two);
    sigaddset(&two, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &two, nullptr);
    unix_pair(fds);
    listener = tcp_listen(2);
    timeval t = {60, 0};
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0);
    CHECK(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0);
    CHECK((queue_id = msgget(IPC_PRIVATE, 0600)) >= 0);
    CHECK((set_id = semget(IPC_PRIVATE, 1, 0600)) >= 0);
    for (const InterruptedCall& one : calls) interrupt_call(one, true);
    CHECK(msgctl(queue_id, IPC_RMID, nullptr) == 0 && semctl(set_id, 0, IPC_RMID) == 0);
    // A send that has put some bytes into the buffer returns their number.
    pthread_t s = start(sender, nullptr);
    int waiting = 0;
    while (!sent && waiting++ < 1000) {
        nap(3);
        CHECK(pthread_kill(s, SIGUSR1) == 0);
    }
    finish(s);
    CHECK(sent > 0 && sent < (long)sizeof big);
    shutdown(fds[1], SHUT_WR);
    CHECK((long)take(fds[0], big, sizeof big) == sent);
    // A sleep reports the seconds left.  The signal may come before it begins, so they go on.
    slept = false;
    s = start(sleeper, nullptr);
    while (!slept) {
        nap(3);
        CHECK(pthread_kill(s, SIGUSR1) == 0);
    }
    CHECK(finish(s));
    puts("partial send counted, sleep returned early");
    return 0;
}
