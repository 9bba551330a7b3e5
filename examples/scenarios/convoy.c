// Shows:  the convoy effect: short tasks behind long ones in one queue.
// Run:    taskset -c 0 convoy [HOGS [TASKS]]      (3 hogs, 40 tasks)
// Expect: a wait of some slices; without preemption, of all that the hogs need.
//
// Hogs compute for 150 ms each and never call anything; each short task wants 0.1 ms of CPU and is
// made after the hogs.  Waits are told in CPU time that the process used meanwhile, so that other
// processes do not count.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { kMost = 10000 };

static double waited_ms[kMost], made_ms[kMost];
static volatile unsigned long sink;

static double now_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static long rounds_per_ms;

static void compute(long ms_tenths) {
    for (long i = 0; i < ms_tenths * rounds_per_ms / 10; i++) sink = sink + (unsigned long)i;
}

static void* hog(void* unused) {
    compute(1500);
    return unused;
}

static void* task(void* argument) {
    long i = (long)argument;
    waited_ms[i] = now_ms(CLOCK_PROCESS_CPUTIME_ID) - made_ms[i];
    compute(1);
    return NULL;
}

static int by_value(const void* a, const void* b) {
    double x = *(const double*)a, y = *(const double*)b;
    return (x > y) - (x < y);
}

int main(int argc, char** argv) {
    long hogs = argc > 1 ? atol(argv[1]) : 3, tasks = argc > 2 ? atol(argv[2]) : 40;
    if (hogs < 0 || hogs > 100 || tasks < 1 || tasks > kMost) {
        return fprintf(stderr, "usage: convoy [HOGS 0..100 [TASKS 1..%d]]\n", kMost), 2;
    }
    rounds_per_ms = 100000;
    double start = now_ms(CLOCK_THREAD_CPUTIME_ID);
    compute(100);
    rounds_per_ms = (long)(1e6 / (now_ms(CLOCK_THREAD_CPUTIME_ID) - start));

    pthread_t* threads = calloc((size_t)(hogs + tasks), sizeof *threads);
    if (!threads) return 1;
    for (long i = 0; i < hogs; i++)
        if (pthread_create(&threads[i], NULL, hog, NULL)) return 1;
    for (long i = 0; i < tasks; i++) {
        made_ms[i] = now_ms(CLOCK_PROCESS_CPUTIME_ID);
        if (pthread_create(&threads[hogs + i], NULL, task, (void*)i)) return 1;
    }
    for (long i = 0; i < hogs + tasks; i++) pthread_join(threads[i], NULL);
    qsort(waited_ms, (size_t)tasks, sizeof *waited_ms, by_value);
    printf("short tasks waited: median %.1f ms, longest %.1f ms\n", waited_ms[tasks / 2],
           waited_ms[tasks - 1]);
    return 0;
}
