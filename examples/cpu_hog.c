// Shows:  loops without calls, more than there are CPUs, beside a thread that ticks every 50 ms.
// Run:    cpu_hog [HOGS [TICKS]]      (4 hogs, 40 ticks)
// Expect: ticks at most some time slices late; without preemption there would be none.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile int stop;
static unsigned long* turns;

static void* hog(void* arg) {
    volatile unsigned long* mine = arg;
    unsigned long n = 0;
    while (!stop) n++;
    *mine = n;
    return NULL;
}

static double ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static void* ticker(void* arg) {
    long ticks = (long)arg;
    double worst = 0, sum = 0, next = ms();
    for (long i = 1; i <= ticks; i++) {
        next += 50;
        double left = next - ms();
        struct timespec ts = {0, left > 0 ? (long)(left * 1e6) : 0};
        nanosleep(&ts, NULL);
        double late = ms() - next;
        sum += late;
        if (late > worst) worst = late;
        if (i % 10 == 0) {
            printf("tick %ld: %.1f ms late\n", i, late);
            fflush(stdout);
        }
        // Lateness is not carried over: each tick is judged by itself.
        if (late > 0) next += late;
    }
    printf("%ld ticks: mean %.2f ms late, worst %.2f ms\n", ticks, sum / ticks, worst);
    stop = 1;
    return NULL;
}

int main(int argc, char** argv) {
    long hogs = argc > 1 ? atol(argv[1]) : 4, ticks = argc > 2 ? atol(argv[2]) : 40;
    if (hogs < 0 || hogs > 1000 || ticks < 1)
        return fprintf(stderr, "usage: %s [HOGS [TICKS]]\n", argv[0]), 2;
    pthread_t* t = calloc(hogs + 1, sizeof *t);
    turns = calloc(hogs + 1, sizeof *turns);
    for (long i = 0; i <= hogs; i++)
        if (pthread_create(&t[i], NULL, i ? hog : ticker, i ? (void*)&turns[i] : (void*)ticks))
            return perror("pthread_create"), 1;
    for (long i = 0; i <= hogs; i++) pthread_join(t[i], NULL);
    unsigned long min = -1ul, max = 0;
    for (long i = 1; i <= hogs; i++) {
        if (turns[i] < min) min = turns[i];
        if (turns[i] > max) max = turns[i];
    }
    if (hogs)
        printf("the busiest hog got %.1f times the share of the idlest\n",
               min ? (double)max / min : -1);
    return 0;
}
