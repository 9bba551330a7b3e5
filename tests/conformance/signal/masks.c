// Each thread has its own mask: inherited at creation, changed alone, by pthread_sigmask and
// sigprocmask alike; signals sent to a blocking thread stay pending for it and are seen by its
// sigpending only.
// expect: fibers>=2 native_fallbacks=0
#include "../../support/twin.h"

static sem_t step, answer;
static volatile sig_atomic_t handled_by_child, handled_by_main;
static pthread_t main_thread;

static void handler(int sig) {
    (void)sig;
    if (pthread_equal(pthread_self(), main_thread))
        handled_by_main++;
    else
        handled_by_child++;
}

static int blocked(int sig) {
    sigset_t now;
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0);
    return sigismember(&now, sig);
}
static int pending(int sig) {
    sigset_t now;
    CHECK(sigpending(&now) == 0);
    return sigismember(&now, sig);
}
static void change(int how, int sig) {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, sig);
    CHECK(pthread_sigmask(how, &s, NULL) == 0);
}

static void* grandchild(void* arg) {
    (void)arg;
    return (void*)(intptr_t)(blocked(SIGUSR1) * 2 + blocked(SIGUSR2));
}

static void* child(void* arg) {
    (void)arg;
    CHECK(blocked(SIGUSR1) && !blocked(SIGUSR2));  // as the creator's was
    CHECK(!pending(SIGUSR1));                      // pending signals are not inherited
    change(SIG_BLOCK, SIGUSR2);
    CHECK(finish(start(grandchild, NULL)) == (void*)3);
    sem_post(&answer);
    wait_sem(&step);
    CHECK(pending(SIGUSR1) && handled_by_child == 0);
    change(SIG_UNBLOCK, SIGUSR1);  // delivered before the call returns
    CHECK(handled_by_child == 1 && !pending(SIGUSR1));
    sigset_t s, old;
    sigfillset(&s);
    CHECK(sigprocmask(SIG_SETMASK, &s, &old) == 0);
    CHECK(sigismember(&old, SIGUSR2) && !sigismember(&old, SIGUSR1));
    CHECK(blocked(SIGTERM) && !blocked(SIGKILL) && !blocked(SIGSTOP));
    // glibc keeps its own two signals out of any mask.
    CHECK(!blocked(32) && !blocked(33));
    return NULL;
}

int main(void) {
    main_thread = pthread_self();
    CHECK(sem_init(&step, 0, 0) == 0 && sem_init(&answer, 0, 0) == 0);
    struct sigaction a = {.sa_handler = handler};
    CHECK(sigaction(SIGUSR1, &a, NULL) == 0 && sigaction(SIGUSR2, &a, NULL) == 0);
    change(SIG_BLOCK, SIGUSR1);
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    CHECK(pending(SIGUSR1) && handled_by_main == 0);
    pthread_t t = start(child, NULL);
    wait_sem(&answer);
    CHECK(!blocked(SIGUSR2));
    CHECK(pthread_kill(t, SIGUSR1) == 0);
    sem_post(&step);
    finish(t);
    CHECK(handled_by_main == 0 && pending(SIGUSR1));
    change(SIG_UNBLOCK, SIGUSR1);
    CHECK(handled_by_main == 1 && !blocked(SIGTERM));
    CHECK(pthread_sigmask(99, &(sigset_t){0}, NULL) == EINVAL);
    printf("main %d, child %d\n", (int)handled_by_main, (int)handled_by_child);
    return 0;
}
