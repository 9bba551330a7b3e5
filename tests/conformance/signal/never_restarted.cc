// Calls that a handler ends with EINTR in spite of SA_RESTART: sockets with a timeout, waits with
// a time, message queues of System V, semop; and what partly done transfers report instead.
#include "../../support/twin.h"
#include <atomic>
#include <sys/msg.h>
#include <sys/sem.h>

static std::atomic<int> handled, returned;
static void handler(int) { handled++; }
static int fds[2], listener, queue_id, set_id;
static sem_t entered;
static char big[4 << 20];

struct Call {
    const char* name;
    long (*call)();
};
static const Call calls[] = {
    {"recv with SO_RCVTIMEO", [] { return (long)recv(fds[0], big, 1, 0); }},
    {"accept with SO_RCVTIMEO", [] { return (long)accept(listener, nullptr, nullptr); }},
    {"msgrcv", [] { return (long)msgrcv(queue_id, big, 8, 0, 0); }},
    {"semop",
     [] {
         sembuf b = {0, -1, 0};
         return (long)semop(set_id, &b, 1);
     }},
    {"poll with a time", [] { return (long)poll(nullptr, 0, 60000); }},
    {"usleep", [] { return (long)usleep(60000000); }},
    {"sigtimedwait",
     [] {
         sigset_t s;
         sigemptyset(&s);
         sigaddset(&s, SIGUSR2);
         timespec t = {60, 0};
         return (long)sigtimedwait(&s, nullptr, &t);
     }},
};
static const Call* current;
static long result;
static int code;
static void* caller(void*) {
    sem_post(&entered);
    result = current->call();
    code = errno;
    returned = 1;
    return nullptr;
}
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
    CHECK(sem_init(&entered, 0, 0) == 0);
    struct sigaction a = {};
    a.sa_handler = handler;
    a.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
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
    for (const Call& c : calls) {
        current = &c;
        returned = 0;
        pthread_t one = start(caller, nullptr);
        wait_sem(&entered);
        for (int i = 0; i < 2000 && !returned; i++) {
            nap(3);
            CHECK(pthread_kill(one, SIGUSR1) == 0);
        }
        finish(one);
        CHECK(result == -1 && code == EINTR);
        printf("%s: EINTR\n", c.name);
    }
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
