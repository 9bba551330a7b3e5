// Signal handlers that run in a condition wait do not end it, and no wake-up is lost by them.
// expect: fibers>=4 native_fallbacks=0
#include "../../support/twin.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int entered, returns, turn, rounds_left = 8000;
static volatile sig_atomic_t handled, mutex_was_free;
static volatile int stop;

static void note(int signal) {
    (void)signal;
    handled++;
    if (pthread_mutex_trylock(&mutex) == 0) {
        mutex_was_free = 1;
        pthread_mutex_unlock(&mutex);
    }
}

static void* waits(void* timed) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 100;
    pthread_mutex_lock(&mutex);
    entered = 1;
    int code = timed != NULL ? pthread_cond_timedwait(&cond, &mutex, &until)
                             : pthread_cond_wait(&cond, &mutex);
    returns++;
    pthread_mutex_unlock(&mutex);
    return (void*)(intptr_t)code;
}

static void interrupted(void* timed) {
    entered = returns = handled = mutex_was_free = 0;
    pthread_t t = start(waits, timed);
    for (int in = 0; !in; usleep(1000)) {
        pthread_mutex_lock(&mutex);
        in = entered;
        pthread_mutex_unlock(&mutex);
    }
    for (int i = 0; i < 30; i++) {
        CHECK(pthread_kill(t, SIGUSR1) == 0);
        while (handled <= i) usleep(200);
    }
    usleep(5000);
    pthread_mutex_lock(&mutex);
    printf("after %d handlers: returned %d times, mutex free in the handler %d\n", (int)handled,
           returns, (int)mutex_was_free);
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
    printf("result %d\n", (int)(intptr_t)finish(t));
}

static void count_only(int signal) { handled += signal == SIGUSR2; }

static void* plays(void* side) {
    const int me = (int)(intptr_t)side;
    for (int i = 0; i < 4000; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != me) pthread_cond_wait(&cond, &mutex);
        turn = !me;
        rounds_left--;
        pthread_cond_signal(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static pthread_t players[2];

static void* disturbs(void* arg) {
    for (int i = 0; !stop; i++) {
        pthread_kill(players[i % 2], SIGUSR2);
        if (i % 16 == 0) usleep(100);
    }
    return arg;
}

int main(void) {
    CHECK(signal(SIGUSR1, note) != SIG_ERR && signal(SIGUSR2, count_only) != SIG_ERR);
    interrupted(NULL);
    interrupted(&cond);
    players[0] = start(plays, (void*)0);
    players[1] = start(plays, (void*)1);
    pthread_t third = start(disturbs, NULL);
    // Ended threads are not joined before nobody sends them anything.
    for (int over = 0; !over; usleep(1000)) {
        pthread_mutex_lock(&mutex);
        over = rounds_left == 0;
        pthread_mutex_unlock(&mutex);
    }
    stop = 1;
    finish(third);
    finish(players[0]);
    finish(players[1]);
    CHECK(pthread_cond_destroy(&cond) == 0);
    printf("played, disturbed %d\n", handled > 30);
    return 0;
}
