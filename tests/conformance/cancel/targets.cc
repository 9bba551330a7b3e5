// pthread_cancel of a thread that has not begun, has ended, is detached, is oneself, is the main
// thread, is about to create threads: results and join values as glibc gives them.
// expect: fibers>=54 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static std::atomic<int> begun, cleaned, after;
static sem_t sem;
static pthread_t main_thread;

static void* waits(void*) {
    begun++;
    pthread_cleanup_push([](void*) { cleaned++; }, nullptr);
    while (true) pause();
    pthread_cleanup_pop(0);
    return nullptr;
}
static void* returns(void* arg) { return arg; }
static void* cancels_itself(void*) {
    CHECK(pthread_cancel(pthread_self()) == 0);
    after++;  // deferred: goes on to the next cancellation point
    pthread_testcancel();
    after += 100;
    return nullptr;
}
static void* async_itself(void*) {
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr) == 0);
    pthread_cancel(pthread_self());
    after += 1000;
    return nullptr;
}
struct Last {
    ~Last() { sem_post(&sem); }
};
static void* detached(void*) {
    Last last;
    CHECK(pthread_detach(pthread_self()) == 0);
    sem_post(&sem);
    while (true) sleep(100);
    return nullptr;
}

static void* in_child(void*) {
    // Runs in a child process: cancels its main thread, which waits in pause; the process lives on.
    nap(10);
    CHECK(pthread_cancel(main_thread) == 0);
    void* result;
    CHECK(pthread_join(main_thread, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(pingpong(2, 2) == 4);
    _exit(61);
}

int main() {
    CHECK(sem_init(&sem, 0, 0) == 0);
    int cancelled = 0;
    for (int i = 0; i < 50; i++) {
        pthread_t t = start(waits, nullptr);  // most have not begun when the request comes
        CHECK(pthread_cancel(t) == 0);
        cancelled += finish(t) == PTHREAD_CANCELED;
    }
    CHECK(cancelled == 50 && cleaned == begun);

    pthread_t t = start(returns, (void*)5);
    nap(20);
    CHECK(pthread_cancel(t) == 0);  // ended but not joined: no error in glibc, the value stays
    CHECK(finish(t) == (void*)5 || !"value lost");
    CHECK(finish(start(cancels_itself, nullptr)) == PTHREAD_CANCELED);
    CHECK(finish(start(async_itself, nullptr)) == PTHREAD_CANCELED);
    CHECK(after == 1);

    t = start(detached, nullptr);
    wait_sem(&sem);
    CHECK(pthread_cancel(t) == 0);
    wait_sem(&sem);  // its destructors ran

    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        main_thread = pthread_self();
        start(in_child, nullptr);
        while (true) pause();
    }
    CHECK(exited_with(reap(child), 61));
    printf("%d cancelled, all as they should\n", cancelled);
    return 0;
}
