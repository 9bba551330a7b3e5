// A thread whose signal handler runs while it waits at a barrier stays counted: the round completes
// without it, and the barrier is not destroyed before the handler has returned.
// expect: fibers>=2
#include <semaphore.h>
#include <signal.h>

#include "switching.h"

enum { kRounds = 20 };

static pthread_barrier_t b;
static sem_t in_handler, may_return;
static int handled, passed, destroyed;

static void waits_long(int signal) {
    (void)signal;
    handled++;
    sem_post(&in_handler);
    while (sem_wait(&may_return) != 0) CHECK_EQ(errno, EINTR);
}

static void* meets(void* rounds) {
    for (long i = 0; i < (long)rounds; i++) {
        int rc = pthread_barrier_wait(&b);
        CHECK(rc == 0 || rc == PTHREAD_BARRIER_SERIAL_THREAD);
        bump(&passed);
    }
    return NULL;
}

static void* destroys(void* unused) {
    (void)unused;
    CHECK_OK(pthread_barrier_destroy(&b));
    bump(&destroyed);
    return NULL;
}

static void interrupt(pthread_t t) {
    CHECK_OK(pthread_kill(t, SIGUSR1));
    while (sem_wait(&in_handler) != 0) CHECK_EQ(errno, EINTR);
}

int main(void) {
    struct sigaction a = {.sa_handler = waits_long};
    CHECK_EQ(sigaction(SIGUSR1, &a, NULL), 0);
    CHECK_EQ(sem_init(&in_handler, 0, 0), 0);
    CHECK_EQ(sem_init(&may_return, 0, 0), 0);
    CHECK_OK(pthread_barrier_init(&b, NULL, 2));

    // The handler returns before the round is complete: the thread waits on.
    pthread_t t = spawn(meets, (void*)2);
    likely_blocked();
    interrupt(t);
    CHECK_EQ(sem_post(&may_return), 0);
    CHECK_RC(pthread_barrier_wait(&b), PTHREAD_BARRIER_SERIAL_THREAD);
    wait_for(&passed, 1);
    // The round is complete before the handler returns.
    likely_blocked();
    interrupt(t);
    CHECK_RC(pthread_barrier_wait(&b), PTHREAD_BARRIER_SERIAL_THREAD);
    CHECK_EQ(passed, 1);
    CHECK_EQ(sem_post(&may_return), 0);
    join(t);
    CHECK_EQ(passed, 2);

    // Several are away, one of them twice in a row; the next round waits for them all.
    CHECK_OK(pthread_barrier_destroy(&b));
    CHECK_OK(pthread_barrier_init(&b, NULL, 4));
    passed = 0;
    pthread_t many[3];
    for (int i = 0; i < 3; i++) many[i] = spawn(meets, (void*)kRounds);
    for (int r = 0; r < kRounds; r++) {
        wait_for(&passed, 3 * r);
        likely_blocked();
        for (int i = 0; i < 3; i++) interrupt(many[i]);
        if (r % 2) {
            for (int i = 0; i < 3; i++) CHECK_EQ(sem_post(&may_return), 0);
            interrupt(many[r % 3]);
        }
        CHECK_RC(pthread_barrier_wait(&b), PTHREAD_BARRIER_SERIAL_THREAD);
        for (int i = 0; i < (r % 2 ? 1 : 3); i++) CHECK_EQ(sem_post(&may_return), 0);
    }
    for (int i = 0; i < 3; i++) join(many[i]);
    CHECK_EQ(passed, 3 * kRounds);

    CHECK_OK(pthread_barrier_destroy(&b));
    CHECK_OK(pthread_barrier_init(&b, NULL, 2));
    t = spawn(meets, (void*)1);
    likely_blocked();
    interrupt(t);
    CHECK_RC(pthread_barrier_wait(&b), PTHREAD_BARRIER_SERIAL_THREAD);
    pthread_t d = spawn(destroys, NULL);
    likely_blocked();
    CHECK_EQ(destroyed, 0);
    CHECK_EQ(sem_post(&may_return), 0);
    join(t);
    join(d);
    printf("handled %d, passed %d, destroyed %d\n", handled, passed, destroyed);
    return 0;
}
