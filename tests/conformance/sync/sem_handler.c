// sem_post is the one synchronisation call allowed in a signal handler: posts from handlers wake
// waiters and none is lost; a waiter interrupted by a handler gets EINTR.
#include <semaphore.h>
#include <signal.h>

#include "switching.h"

enum { kSignals = 300 };
static sem_t s;
static int handled, waited, interrupted, waiting;

static void post(int sig) {
    (void)sig;
    int saved = errno;
    if (sem_post(&s) != 0) _exit(3);
    bump(&handled);
    errno = saved;
}
static void nothing(int sig) { (void)sig; }

static void* waiter(void* unused) {
    (void)unused;
    for (int i = 0; i < kSignals; i++) {
        while (sem_wait(&s) != 0) CHECK_EQ(errno, EINTR);
        bump(&waited);
    }
    return NULL;
}

static void* is_interrupted(void* sem) {
    bump(&waiting);
    if (sem_wait(sem) == -1 && errno == EINTR) bump(&interrupted);
    return NULL;
}

int main(void) {
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = post;
    CHECK_EQ(sigaction(SIGUSR1, &a, NULL), 0);
    a.sa_handler = nothing;
    CHECK_EQ(sigaction(SIGUSR2, &a, NULL), 0);
    CHECK_EQ(sem_init(&s, 0, 0), 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
    pthread_t w = spawn(waiter, NULL);  // does not take SIGUSR1, so the handler runs on main
    CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
    for (int i = 0; i < kSignals; i++) {
        if (i % 2)
            CHECK_EQ(raise(SIGUSR1), 0);
        else
            CHECK_OK(pthread_kill(pthread_self(), SIGUSR1));
        wait_for(&handled, i + 1);
        if (i % 50 == 0) wait_for(&waited, i + 1);
    }
    join(w);
    CHECK_EQ(waited, kSignals);

    sem_t never;
    CHECK_EQ(sem_init(&never, 0, 0), 0);
    pthread_t t = spawn(is_interrupted, &never);
    wait_for(&waiting, 1);
    // A signal that comes before the wait is only a handler run; repeat until the wait was hit.
    while (__atomic_load_n(&interrupted, __ATOMIC_ACQUIRE) == 0) {
        CHECK_OK(pthread_kill(t, SIGUSR2));
        usleep(1000);
    }
    join(t);
    printf("handled %d, waited %d, interrupted %d\n", handled, waited, interrupted);
    return 0;
}
