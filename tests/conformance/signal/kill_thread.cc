// pthread_kill runs the handler in exactly the thread it names, running or blocked (its
// pthread_self and its own thread variable say so), interrupts only that thread and returns ESRCH-
// like codes as glibc does.
// expect: fibers>=8 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static const int threads = 8, kills = 25;
static __thread volatile int handled;
static __thread int number = -1;
static pthread_t self_of[threads];
static std::atomic<int> wrong, total;
static std::atomic<bool> stop;
static int fds[threads][2];
static sem_t ready, done;

static void on_usr1(int sig) {
    int saved = errno;
    if (sig != SIGUSR1 || number < 0 || !pthread_equal(pthread_self(), self_of[number])) wrong++;
    handled = handled + 1;
    total++;
    sem_post(&done);
    errno = saved;
}

static void* body(void* arg) {
    number = (int)(intptr_t)arg;
    self_of[number] = pthread_self();
    sem_post(&ready);
    if (number % 2) {
        volatile unsigned long spin = 0;
        while (!stop) spin = spin + 1;
    } else {
        // No SA_RESTART: each handled signal may end one read with EINTR, never with data.
        char c;
        int interrupted = 0;
        while (true) {
            ssize_t n = read(fds[number][0], &c, 1);
            if (n == 0) break;
            CHECK(n == -1 && errno == EINTR);
            interrupted++;
        }
        CHECK(interrupted <= kills);
    }
    return (void*)(intptr_t)handled;
}

int main() {
    CHECK(sem_init(&ready, 0, 0) == 0 && sem_init(&done, 0, 0) == 0);
    struct sigaction a = {};
    a.sa_handler = on_usr1;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
    pthread_t t[threads];
    for (int i = 0; i < threads; i++) {
        CHECK(pipe(fds[i]) == 0);
        t[i] = start(body, (void*)(intptr_t)i);
    }
    for (int i = 0; i < threads; i++) wait_sem(&ready);
    for (int k = 0; k < kills; k++) {
        for (int i = 0; i < threads; i++) {
            CHECK(pthread_kill(t[i], SIGUSR1) == 0);
            wait_sem(&done);  // One at a time: ordinary signals do not queue.
        }
    }
    CHECK(pthread_kill(t[0], 0) == 0);
    CHECK(pthread_kill(t[0], 4711) == EINVAL);
    stop = true;
    int right = 0;
    for (int i = 0; i < threads; i++) {
        close(fds[i][1]);
        right += (int)(intptr_t)finish(t[i]) == kills;
    }
    CHECK(wrong == 0 && number == -1 && handled == 0);
    printf("%d handlers, %d threads got %d each\n", (int)total, right, kills);
    return right != threads;
}
