// sigwaitinfo and sigtimedwait: queued values arrive in order, ends of time are EAGAIN, a signal
// outside the set that runs a handler gives EINTR; sigqueue and pthread_sigqueue set si_code,
// si_pid, si_value.
// expect: fibers>=2 native_fallbacks=0
#include "../../support/twin.h"

static sem_t ready;
static sigset_t set;
static int order_right;

static void* waiter(void* arg) {
    (void)arg;
    siginfo_t info;
    sem_post(&ready);
    for (int i = 0; i < 20; i++) {
        int sig;
        while ((sig = sigwaitinfo(&set, &info)) == -1) CHECK(errno == EINTR);
        CHECK(sig == SIGRTMIN + 3 && info.si_signo == sig && info.si_code == SI_QUEUE);
        CHECK(info.si_pid == getpid() && info.si_uid == getuid());
        order_right += info.si_value.sival_int == 1000 + i;
    }
    struct timespec short_time = {0, 50000000};
    int64_t t0 = now_ms();
    CHECK(sigtimedwait(&set, &info, &short_time) == -1 && errno == EAGAIN);
    CHECK(now_ms() - t0 >= 49);
    struct timespec zero = {0, 0};
    CHECK(sigtimedwait(&set, NULL, &zero) == -1 && errno == EAGAIN);
    // The lowest of several pending ones comes first.  glibc shows SI_TKILL as SI_USER here.
    CHECK(raise(SIGRTMIN + 4) == 0 && raise(SIGRTMIN + 3) == 0);
    CHECK(sigtimedwait(&set, &info, NULL) == SIGRTMIN + 3 && info.si_code == SI_USER);
    CHECK(sigtimedwait(&set, &info, &zero) == SIGRTMIN + 4);
    struct timespec wrong = {0, -1};
    CHECK(sigtimedwait(&set, &info, &wrong) == -1 && errno == EINVAL);
    wrong.tv_sec = -1;
    wrong.tv_nsec = 0;
    CHECK(sigtimedwait(&set, &info, &wrong) == -1 && errno == EINVAL);
    return NULL;
}

static volatile sig_atomic_t handled, done;
static void handler(int sig) {
    (void)sig;
    handled = 1;
}
static void* interrupted(void* arg) {
    (void)arg;
    sem_post(&ready);
    CHECK(sigwaitinfo(&set, NULL) == -1 && errno == EINTR);
    done = 1;
    return NULL;
}

int main(void) {
    CHECK(sem_init(&ready, 0, 0) == 0);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 3);
    sigaddset(&set, SIGRTMIN + 4);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    pthread_t t = start(waiter, NULL);
    wait_sem(&ready);
    for (int i = 0; i < 20; i++) {
        union sigval v = {.sival_int = 1000 + i};
        CHECK(pthread_sigqueue(t, SIGRTMIN + 3, v) == 0);
        if (i == 10) nap(10);
    }
    finish(t);
    // Addressed to the process: any thread that waits for it gets it.
    siginfo_t info;
    union sigval v = {.sival_ptr = &info};
    CHECK(sigqueue(getpid(), SIGRTMIN + 4, v) == 0);
    CHECK(sigwaitinfo(&set, &info) == SIGRTMIN + 4 && info.si_value.sival_ptr == &info);
    CHECK(kill(getpid(), SIGRTMIN + 4) == 0);
    CHECK(sigwaitinfo(&set, &info) == SIGRTMIN + 4 && info.si_code == SI_USER);

    signal(SIGUSR1, handler);
    struct sigaction a = {.sa_handler = handler};
    CHECK(sigaction(SIGUSR1, &a, NULL) == 0);
    t = start(interrupted, NULL);
    wait_sem(&ready);
    while (!done) {
        pthread_kill(t, SIGUSR1);
        nap(5);
    }
    finish(t);
    printf("%d values in order, handler %d\n", order_right, (int)handled);
    return order_right != 20;
}
