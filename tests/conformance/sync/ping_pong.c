// Two threads pass a turn through mutex and condition, another pair through two
// mutexes-by-semaphore, another through a pipe: 5,000 strict alternations each.
#include <semaphore.h>

#include "switching.h"

enum { kRounds = 5000 };
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int turn, swaps;
static sem_t sem[2];
static int by_sem;
static int pipes[2][2], by_pipe;

static void* with_cond(void* me) {
    for (int i = 0; i < kRounds; i++) {
        CHECK_OK(pthread_mutex_lock(&m));
        while (turn != (int)(long)me) CHECK_OK(pthread_cond_wait(&c, &m));
        CHECK_EQ(swaps % 2, (long)me);
        swaps++;
        turn = !turn;
        CHECK_OK(pthread_cond_signal(&c));
        CHECK_OK(pthread_mutex_unlock(&m));
    }
    return NULL;
}

static void* with_sem(void* me) {
    for (int i = 0; i < kRounds; i++) {
        CHECK_EQ(sem_wait(&sem[(long)me]), 0);
        CHECK_EQ(by_sem % 2, (long)me);
        by_sem++;
        CHECK_EQ(sem_post(&sem[!(long)me]), 0);
    }
    return NULL;
}

static void* with_pipe(void* me) {
    for (int i = 0; i < kRounds; i++) {
        char byte;
        CHECK_EQ(read(pipes[(long)me][0], &byte, 1), 1);
        CHECK_EQ(by_pipe % 2, (long)me);
        by_pipe++;
        CHECK_EQ(write(pipes[!(long)me][1], "x", 1), 1);
    }
    return NULL;
}

int main(void) {
    CHECK_EQ(sem_init(&sem[0], 0, 1), 0);
    CHECK_EQ(sem_init(&sem[1], 0, 0), 0);
    CHECK_EQ(pipe(pipes[0]) | pipe(pipes[1]), 0);
    CHECK_EQ(write(pipes[0][1], "x", 1), 1);
    void* (*const bodies[])(void*) = {with_cond, with_sem, with_pipe};
    pthread_t t[6];
    for (int i = 0; i < 6; i++) t[i] = spawn(bodies[i / 2], (void*)(long)(i % 2));
    for (int i = 0; i < 6; i++) join(t[i]);
    printf("%d %d %d\n", swaps, by_sem, by_pipe);
    return 0;
}
