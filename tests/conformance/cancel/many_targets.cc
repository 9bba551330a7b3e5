// A server that cancels its workers: 200 threads in mixed waits, some disabled, some detached,
// cancelled in a burst by two threads; every one cleans up once, every joinable one says
// PTHREAD_CANCELED, and the objects they held are usable.
// limit: 20
// expect: fibers>=202 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static const int n = 200;
static pthread_t t[n];
static std::atomic<int> ready, cleaned, destroyed;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int fds[2], pipe_fds[2];
static sem_t never;
static std::atomic<bool> let_go;

struct Guard {
    ~Guard() { destroyed++; }
};

static void* body(void* arg) {
    int i = (int)(intptr_t)arg;
    Guard guard;
    pthread_cleanup_push([](void*) { cleaned++; }, nullptr);
    ready++;
    char c;
    pollfd p = {fds[0], POLLIN, 0};
    switch (i % 8) {
        case 0:
            (void)!read(pipe_fds[0], &c, 1);
            break;
        case 1:
            recv(fds[0], &c, 1, 0);
            break;
        case 2:
            poll(&p, 1, -1);
            break;
        case 3:
            sleep(100);
            break;
        case 4:
            sem_wait(&never);
            break;
        case 5:
            pthread_mutex_lock(&mutex);
            pthread_cleanup_push([](void*) { pthread_mutex_unlock(&mutex); }, nullptr);
            while (true) pthread_cond_wait(&cond, &mutex);
            pthread_cleanup_pop(0);
            break;
        case 6:
            pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
            while (!let_go) usleep(1000);
            pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
            pthread_testcancel();
            break;
        case 7:
            while (true) {
                for (volatile int k = 0; k < 1000; k = k + 1) {
                }
                pthread_testcancel();
                sched_yield();
            }
            break;
    }
    pthread_cleanup_pop(0);
    return nullptr;
}
static void* cancel_half(void* arg) {
    for (int i = (int)(intptr_t)arg; i < n; i += 2) CHECK(pthread_cancel(t[i]) == 0);
    return nullptr;
}

int main() {
    CHECK(sem_init(&never, 0, 0) == 0 && pipe(pipe_fds) == 0);
    unix_pair(fds);
    for (int i = 0; i < n; i++) t[i] = start(body, (void*)(intptr_t)i);
    while (ready < n) nap(1);
    nap(10);
    pthread_t a = start(cancel_half, nullptr), b = start(cancel_half, (void*)1);
    finish(a);
    finish(b);
    let_go = true;
    int cancelled = 0;
    for (int i = 0; i < n; i++) cancelled += finish(t[i]) == PTHREAD_CANCELED;
    CHECK(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0);
    put(fds[1], "x", 1);
    char c;
    CHECK(read(fds[0], &c, 1) == 1);
    CHECK(pingpong(4, 4) == 16);
    printf("%d cancelled, %d cleaned up, %d destroyed\n", cancelled, (int)cleaned, (int)destroyed);
    return cancelled != n || cleaned != n || destroyed != n;
}
