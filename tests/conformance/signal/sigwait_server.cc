// The signal-thread pattern: all threads block the signals, one sits in sigwait; kill(getpid())
// from outside and inside reaches that thread and nobody else, while the others work.
// expect: fibers>=6 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static std::atomic<bool> stop;
static std::atomic<int> handlers_run;
static int counts[65];
static sem_t seen;
static sigset_t set;

static void* signal_thread(void*) {
    while (true) {
        int sig = 0;
        CHECK(sigwait(&set, &sig) == 0);
        counts[sig]++;
        sem_post(&seen);
        if (sig == SIGTERM) return nullptr;
    }
}

static void* worker(void* arg) {
    bool blocks = (intptr_t)arg != 0;
    while (!stop) {
        if (blocks) {
            CHECK(pingpong(1, 3) == 3);
        } else {
            for (volatile int i = 0; i < 100000; i = i + 1) {
            }
        }
    }
    return nullptr;
}

int main() {
    CHECK(sem_init(&seen, 0, 0) == 0);
    sigemptyset(&set);
    for (int sig : {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGALRM, SIGCHLD}) sigaddset(&set, sig);
    for (int sig : {SIGHUP, SIGINT, SIGUSR1}) signal(sig, [](int) { handlers_run++; });
    CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
    pthread_t server = start(signal_thread, nullptr), w[4];
    for (int i = 0; i < 4; i++) w[i] = start(worker, (void*)(intptr_t)(i % 2));
    for (int i = 0; i < 30; i++) {
        CHECK(kill(getpid(), i % 2 ? SIGHUP : SIGUSR1) == 0);
        wait_sem(&seen);
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        kill(getppid(), SIGINT);
        _exit(0);
    }
    wait_sem(&seen);  // SIGINT and the child's end, in any order
    wait_sem(&seen);
    CHECK(exited_with(reap(child), 0));
    alarm(1);
    wait_sem(&seen);
    CHECK(pthread_kill(server, SIGHUP) == 0);
    wait_sem(&seen);
    CHECK(kill(getpid(), SIGTERM) == 0);
    finish(server);
    stop = true;
    for (pthread_t t : w) finish(t);
    printf("HUP %d USR1 %d INT %d CHLD %d ALRM %d TERM %d, handlers %d\n", counts[SIGHUP],
           counts[SIGUSR1], counts[SIGINT], counts[SIGCHLD], counts[SIGALRM], counts[SIGTERM],
           (int)handlers_run);
    return 0;
}
