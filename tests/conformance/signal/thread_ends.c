// Signals and the ends of threads: pending ones of an ended thread vanish, those of the process
// stay for the others; kill of an ended, unjoined thread is no error; a mask set before creation
// holds from the first instruction.
// expect: fibers>=120 native_fallbacks=0
#include "../../support/twin.h"

static volatile sig_atomic_t handled;
static sem_t ended;
static void handler(int sig) {
    (void)sig;
    handled++;
}
static void mask(int how, int sig) {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, sig);
    CHECK(pthread_sigmask(how, &s, NULL) == 0);
}
static void* ends_with_pending(void* arg) {
    (void)arg;
    mask(SIG_BLOCK, SIGUSR1);
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    CHECK(kill(getpid(), SIGUSR2) == 0);  // blocked by all: stays with the process
    sem_post(&ended);
    return NULL;
}
static void* born_blocked(void* arg) {
    (void)arg;
    sigset_t now, pending;
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0 && sigismember(&now, SIGUSR1));
    CHECK(sigpending(&pending) == 0);
    return (void*)(intptr_t)handled;
}
static void* short_life(void* arg) { return arg; }

int main(void) {
    CHECK(sem_init(&ended, 0, 0) == 0);
    struct sigaction a = {.sa_handler = handler};
    CHECK(sigaction(SIGUSR1, &a, NULL) == 0 && sigaction(SIGUSR2, &a, NULL) == 0);
    mask(SIG_BLOCK, SIGUSR2);
    pthread_t t = start(ends_with_pending, NULL);
    wait_sem(&ended);
    nap(20);
    CHECK(pthread_kill(t, 0) == 0 && pthread_kill(t, SIGUSR1) == 0);  // ended perhaps, not joined
    finish(t);
    CHECK(handled == 0);
    sigset_t p;
    CHECK(sigpending(&p) == 0 && sigismember(&p, SIGUSR2) && !sigismember(&p, SIGUSR1));
    mask(SIG_UNBLOCK, SIGUSR2);
    CHECK(handled == 1);
    mask(SIG_BLOCK, SIGUSR1);
    for (int i = 0; i < 20; i++) {
        t = start(born_blocked, NULL);
        CHECK(pthread_kill(t, SIGUSR1) == 0);
        CHECK(finish(t) == (void*)1);
    }
    // pthread_attr_setsigmask_np sets the mask of the new thread alone.
    pthread_attr_t attr;
    sigset_t want, got;
    sigemptyset(&want);
    sigaddset(&want, SIGHUP);
    CHECK(pthread_attr_init(&attr) == 0 && pthread_attr_setsigmask_np(&attr, &want) == 0);
    CHECK(pthread_attr_getsigmask_np(&attr, &got) == 0 && sigismember(&got, SIGHUP));
    mask(SIG_UNBLOCK, SIGUSR1);
    CHECK(handled == 1);
    // Threads that come and go while signals rain on the process.
    int rain = 0;
    for (int i = 0; i < 100; i++) {
        t = start(short_life, (void*)7);
        CHECK(kill(getpid(), SIGUSR1) == 0);
        rain++;
        CHECK(finish(t) == (void*)7);
    }
    nap(20);
    CHECK(handled > 1 && handled <= 1 + rain);
    puts("pending signals ended with their thread");
    return 0;
}
