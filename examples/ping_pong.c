// Shows:  the cost of a switch: two threads hand each other the turn (mutex and condition).
// Run:    ping_pong [ROUNDS]      (200000; with taskset -c 0 both share one CPU)
// Expect: natively a kernel switch per turn, some microseconds; under pfiber a fraction of one.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long rounds, turns;

// Even turns belong to player 0, odd ones to player 1.
static void* play(void* arg) {
    long me = (long)arg;
    pthread_mutex_lock(&lock);
    for (long i = 0; i < rounds; i++) {
        while (turns % 2 != me) pthread_cond_wait(&changed, &lock);
        turns++;
        pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static double wall(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}

static double cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char** argv) {
    pthread_t other;
    rounds = argc > 1 ? atol(argv[1]) : 200000;
    if (rounds < 1) return fprintf(stderr, "usage: %s [ROUNDS]\n", argv[0]), 2;
    double w = wall(), c = cpu();
    if (pthread_create(&other, NULL, play, (void*)1L)) return perror("pthread_create"), 1;
    play((void*)0L);
    pthread_join(other, NULL);
    w = wall() - w;
    c = cpu() - c;
    printf("%ld turns: %.0f ns each, %.0f ns of CPU each\n", turns, w / turns * 1e9,
           c / turns * 1e9);
    return turns == 2 * rounds ? 0 : 1;
}
