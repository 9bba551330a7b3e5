// What garbage collectors do: one thread signals every other, each handler says so, waits in
// sigsuspend for the restart signal and looks at its own stack; running, blocked and locking
// threads alike stop and go on, many times.
// limit: 30
// expect: fibers>=12 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static const int threads = 12, rounds = 50;
static sem_t stopped, restarted, ready;
static std::atomic<int> world;  // odd while it stands still
static std::atomic<bool> stop;
static std::atomic<long> moved_while_stopped, stack_words;
static __thread char* stack_top;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int fds[threads][2];
static std::atomic<long> steps[threads];

static void on_stop(int) {
    int saved = errno;
    char here;
    stack_words += stack_top - &here > 0;  // the frame lies on the thread's own stack
    int now = world;                       // before the collector may go on
    sem_post(&stopped);
    sigset_t wait;
    sigfillset(&wait);
    sigdelset(&wait, SIGUSR2);
    sigdelset(&wait, SIGTERM);
    while (world == now) sigsuspend(&wait);
    sem_post(&restarted);
    errno = saved;
}
static void on_restart(int) {}

static void* body(void* arg) {
    int i = (int)(intptr_t)arg;
    char top;
    stack_top = &top;
    sem_post(&ready);
    unsigned char c = 0;
    while (!stop) {
        switch (i % 4) {
            case 0:
                for (volatile int k = 0; k < 1000; k = k + 1) {
                }
                break;
            case 1:
                if (read(fds[i][0], &c, 1) == 0) return nullptr;  // nothing comes before the end
                break;
            case 2:
                pthread_mutex_lock(&mutex);
                pthread_mutex_unlock(&mutex);
                break;
            case 3:
                usleep(200);
                break;
        }
        steps[i]++;
    }
    return nullptr;
}

int main() {
    for (sem_t* s : {&stopped, &restarted, &ready}) CHECK(sem_init(s, 0, 0) == 0);
    struct sigaction a = {};
    a.sa_flags = SA_RESTART;
    sigfillset(&a.sa_mask);
    a.sa_handler = on_stop;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
    a.sa_handler = on_restart;
    CHECK(sigaction(SIGUSR2, &a, nullptr) == 0);
    pthread_t t[threads];
    for (int i = 0; i < threads; i++) {
        CHECK(pipe(fds[i]) == 0);
        t[i] = start(body, (void*)(intptr_t)i);
    }
    for (int i = 0; i < threads; i++) wait_sem(&ready);
    for (int r = 0; r < rounds; r++) {
        world++;
        for (pthread_t one : t) CHECK(pthread_kill(one, SIGUSR1) == 0);
        for (int i = 0; i < threads; i++) wait_sem(&stopped);
        // All stand still now: nobody makes a step.
        long before[threads];
        for (int i = 0; i < threads; i++) before[i] = steps[i];
        if (r % 10 == 0) nap(2);
        for (int i = 0; i < threads; i++) moved_while_stopped += steps[i] != before[i];
        world++;
        for (pthread_t one : t) CHECK(pthread_kill(one, SIGUSR2) == 0);
        for (int i = 0; i < threads; i++) wait_sem(&restarted);
    }
    stop = true;
    for (auto& p : fds) close(p[1]);
    for (pthread_t one : t) finish(one);
    CHECK(stack_words == (long)threads * rounds);
    printf("%d stops of %d threads, %ld moved\n", rounds, threads, (long)moved_while_stopped);
    return moved_while_stopped != 0;
}
