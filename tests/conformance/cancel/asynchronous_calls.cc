// Asynchronous cancellation ends calls that are no cancellation points: those made by number, and
// waits for locks.  Deferred cancellation leaves the same calls alone.
// expect: fibers>=22 native_fallbacks=0
#include "../../support/twin.h"
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/sem.h>
#include <sys/syscall.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static int word, fds[2], ep, locked_fd, wants_fd, semaphores;
static char byte;
static sem_t entered;

struct Call {
    const char* name;
    void (*wait)();
    void (*end)();  // lets a wait that is not cancelled go on
};
static void one_byte() { put(fds[1], "x", 1); }
static void interrupt() {}
static const Call calls[] = {
    {"pause by number", [] { syscall(SYS_pause); }, interrupt},
    {"ppoll by number",
     [] {
         pollfd p = {fds[0], POLLIN, 0};
         syscall(SYS_ppoll, &p, 1, nullptr, nullptr, 8);
     },
     one_byte},
    {"read by number", [] { syscall(SYS_read, fds[0], &byte, 1); }, one_byte},
    {"epoll_wait by number",
     [] {
         epoll_event e;
         syscall(SYS_epoll_wait, ep, &e, 1, -1);
     },
     one_byte},
    {"private futex", [] { syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nullptr); },
     [] { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1); }},
    {"shared futex", [] { syscall(SYS_futex, &word, FUTEX_WAIT, 0, nullptr); },
     [] { syscall(SYS_futex, &word, FUTEX_WAKE, 1); }},
    {"flock",
     [] {
         flock(wants_fd, LOCK_EX);
         flock(wants_fd, LOCK_UN);
     },
     [] { flock(locked_fd, LOCK_UN); }},
    {"semop",
     [] {
         sembuf down = {0, -1, 0};
         CHECK(semop(semaphores, &down, 1) == 0 || errno == EINTR);
     },
     [] { CHECK(semctl(semaphores, 0, SETVAL, 1) == 0); }},
    {"pthread_mutex_lock",
     [] {
         pthread_mutex_lock(&mutex);
         pthread_mutex_unlock(&mutex);
     },
     [] { pthread_mutex_unlock(&mutex); }},
    {"pthread_rwlock_wrlock",
     [] {
         pthread_rwlock_wrlock(&rwlock);
         pthread_rwlock_unlock(&rwlock);
     },
     [] { pthread_rwlock_unlock(&rwlock); }},
    {"pthread_barrier_wait", [] { pthread_barrier_wait(&barrier); },
     [] { pthread_barrier_wait(&barrier); }},
};

static const Call* current;
static int type, cleaned;

static void on_cancel(void*) { cleaned++; }
static void on_signal(int) {}

static void* body(void*) {
    pthread_cleanup_push(on_cancel, nullptr);
    CHECK(pthread_setcanceltype(type, nullptr) == 0);
    sem_post(&entered);
    current->wait();
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr) == 0);
    pthread_cleanup_pop(0);
    return nullptr;
}

// Anew each time: libc's locks do not survive a waiter that is cancelled so.
static void hold_all() {
    CHECK(pthread_mutex_init(&mutex, nullptr) == 0);
    CHECK(pthread_rwlock_init(&rwlock, nullptr) == 0);
    CHECK(semctl(semaphores, 0, SETVAL, 0) == 0);
    pthread_mutex_lock(&mutex);
    pthread_rwlock_wrlock(&rwlock);
    CHECK(flock(locked_fd, LOCK_EX) == 0);
    CHECK(pthread_barrier_init(&barrier, nullptr, 2) == 0);
}

// The call that is to end is in the thread's hands before the request or comes after it: both end.
static bool is_cancelled(int wanted_type, bool lets_go) {
    type = wanted_type;
    pthread_t t = start(body, nullptr);
    wait_sem(&entered);
    nap(5);
    CHECK(pthread_cancel(t) == 0);
    void* result = nullptr;
    if (lets_go) current->end();
    while (pthread_tryjoin_np(t, &result) == EBUSY) {
        if (lets_go) pthread_kill(t, SIGUSR1);
        nap(1);
        // A futex that was not waited for yet when it was woken.
        if (lets_go && current->wait == calls[4].wait) current->end();
        if (lets_go && current->wait == calls[5].wait) current->end();
    }
    if (lets_go && current->end == one_byte && current->wait != calls[2].wait)
        CHECK(take(fds[0], &byte, 1) == 1);
    return result == PTHREAD_CANCELED;
}

int main() {
    char path[] = "/tmp/asynchronous_calls.XXXXXX";
    CHECK((locked_fd = mkstemp(path)) >= 0 && (wants_fd = open(path, O_RDWR)) >= 0);
    CHECK(unlink(path) == 0 && pipe(fds) == 0 && (ep = epoll_create1(0)) >= 0);
    CHECK((semaphores = semget(IPC_PRIVATE, 1, 0600)) >= 0);
    epoll_event event = {};
    event.events = EPOLLIN;
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event) == 0 && sem_init(&entered, 0, 0) == 0);
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
    int asynchronous = 0, deferred = 0;
    for (const Call& call : calls) {
        current = &call;
        hold_all();
        if (is_cancelled(PTHREAD_CANCEL_ASYNCHRONOUS, false)) asynchronous++;
        CHECK(flock(locked_fd, LOCK_UN) == 0);
        hold_all();
        if (is_cancelled(PTHREAD_CANCEL_DEFERRED, true)) {
            printf("%s: cancelled\n", call.name);
            deferred++;
        }
        CHECK(flock(locked_fd, LOCK_UN) == 0);
    }
    CHECK(semctl(semaphores, 0, IPC_RMID) == 0);
    printf("%d of %d cancelled, %d deferred, %d cleaned up\n", asynchronous, COUNT(calls), deferred,
           cleaned);
    return 0;
}
