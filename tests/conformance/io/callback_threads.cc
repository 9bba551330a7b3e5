// Threads that libc itself makes (timer callbacks, aio and message notifications) use mutexes,
// conditions, semaphores, pipes and sockets together with the program's own: each side wakes and
// waits for the other.
// limit: 20
#include "../../support/twin.h"
#include <aio.h>
#include <atomic>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t to_callback = PTHREAD_COND_INITIALIZER, to_thread = PTHREAD_COND_INITIALIZER;
static int turns, wanted;
static sem_t requests, replies;
static int fds[2];
static std::atomic<int> callbacks, begun, ended;
static std::atomic<bool> closing;

static void exchange() {
    // Condition ping-pong with a thread of the program.
    pthread_mutex_lock(&mutex);
    wanted++;
    pthread_cond_signal(&to_thread);
    int mine = wanted;
    while (turns < mine) CHECK(pthread_cond_wait(&to_callback, &mutex) == 0);
    pthread_mutex_unlock(&mutex);
    // A semaphore each way.
    CHECK(sem_post(&requests) == 0);
    wait_sem(&replies);
    // A blocking exchange over a socket with another one.
    unsigned char c = 40;
    pthread_mutex_lock(&mutex);
    put(fds[0], &c, 1);
    CHECK(take(fds[0], &c, 1) == 1 && c == 41);
    pthread_mutex_unlock(&mutex);
    CHECK(pingpong(1, 2) == 2);
    callbacks++;
}
static void on_timer(sigval) {
    begun++;  // before the look at closing: main counts after setting it
    if (!closing) exchange();
    ended++;
}

static std::atomic<bool> stop;
static void* turner(void*) {
    pthread_mutex_lock(&mutex);
    while (true) {
        while (turns == wanted && !stop) CHECK(pthread_cond_wait(&to_thread, &mutex) == 0);
        if (stop) break;
        turns = wanted;
        pthread_cond_broadcast(&to_callback);
    }
    pthread_mutex_unlock(&mutex);
    return nullptr;
}
static void* replier(void*) {
    while (true) {
        wait_sem(&requests);
        if (stop) return nullptr;
        sem_post(&replies);
    }
}

int main() {
    CHECK(sem_init(&requests, 0, 0) == 0 && sem_init(&replies, 0, 0) == 0);
    unix_pair(fds);
    pthread_t t[3] = {start(turner, nullptr), start(replier, nullptr),
                      start(twin_ponger, (void*)(intptr_t)fds[1])};
    sigevent e = {};
    e.sigev_notify = SIGEV_THREAD;
    e.sigev_notify_function = on_timer;
    timer_t timer[4];
    for (timer_t& one : timer) {
        CHECK(timer_create(CLOCK_MONOTONIC, &e, &one) == 0);
        itimerspec s = {{0, 3000000}, {0, 1000000}};
        CHECK(timer_settime(one, 0, &s, nullptr) == 0);
    }
    while (callbacks < 40) nap(1);
    for (timer_t one : timer) CHECK(timer_delete(one) == 0);
    closing = true;
    while (begun != ended) nap(1);
    stop = true;
    pthread_mutex_lock(&mutex);
    pthread_cond_signal(&to_thread);
    pthread_mutex_unlock(&mutex);
    sem_post(&requests);
    close(fds[0]);
    for (pthread_t one : t) finish(one);
    puts("callbacks and threads served each other");
    return 0;
}
