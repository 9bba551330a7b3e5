// Fairness: how long somebody waits beside threads that compute, yield, call or lock without pause.
// The bounds hold in the simulator (tests/sim/workloads_bounds.cc); here is what a user sees.
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "micro.h"

enum { kBusy = 4, kMost = 1000 };

static volatile int over;
static int64_t waited[kMost];

static void compute_us(int us) {
    const uint64_t end = wall_now() + (uint64_t)us * 1000;
    while (wall_now() < end && !over) {
    }
}

static void* computes(void* arg) {
    while (!over) compute_us(500);
    return arg;
}
static void* yields(void* arg) {
    while (!over) {
        compute_us(20);
        sched_yield();
    }
    return arg;
}
static void* calls(void* arg) {
    pthread_mutex_t mine = PTHREAD_MUTEX_INITIALIZER;
    while (!over) {
        compute_us(20);
        pthread_mutex_lock(&mine);
        pthread_mutex_unlock(&mine);
    }
    return arg;
}

// Measures beside kBusy threads that run `busy`.
static void beside(void* (*busy)(void*), const char* name, long count, int64_t (*measure)(void)) {
    if (!count) count = 150;
    if (count > kMost) count = kMost;
    pthread_t threads[kBusy];
    over = 0;
    for (int i = 0; i < kBusy; i++)
        must(pthread_create(&threads[i], NULL, busy, NULL) == 0, "pthread_create");
    for (long i = 0; i < count; i++) waited[i] = measure();
    over = 1;
    for (int i = 0; i < kBusy; i++) pthread_join(threads[i], NULL);
    report_percentiles(name, waited, (int)count);
}

static void pause_us(long us) {
    const struct timespec pause = {0, us * 1000};
    must(nanosleep(&pause, NULL) == 0, "nanosleep");
}

// --- convoy, newtask: from pthread_create to the first instruction ---------------------------

static void* notes_start(void* arg) {
    *(uint64_t*)arg = wall_now();
    return NULL;
}
static int64_t until_start(void) {
    uint64_t begun = 0;
    pthread_t thread;
    pause_us(1000);
    const uint64_t made = wall_now();
    must(pthread_create(&thread, NULL, notes_start, &begun) == 0, "pthread_create");
    pthread_join(thread, NULL);
    return (int64_t)(begun - made);
}
void bench_convoy(long count) { beside(computes, "convoy", count, until_start); }
void bench_newtask(long count) { beside(yields, "newtask", count, until_start); }

// --- pairtasks: a hand-over to a partner and back --------------------------------------------

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int is_partners_turn, has_left;

static void* partner(void* arg) {
    pthread_mutex_lock(&lock);
    while (!has_left) {
        while (!is_partners_turn && !has_left) pthread_cond_wait(&turned, &lock);
        is_partners_turn = 0;
        pthread_cond_signal(&turned);
    }
    pthread_mutex_unlock(&lock);
    return arg;
}
static int64_t round_trip(void) {
    const uint64_t start = wall_now();
    pthread_mutex_lock(&lock);
    is_partners_turn = 1;
    pthread_cond_signal(&turned);
    while (is_partners_turn) pthread_cond_wait(&turned, &lock);
    pthread_mutex_unlock(&lock);
    return (int64_t)(wall_now() - start);
}
void bench_pairtasks(long count) {
    pthread_t thread;
    has_left = 0;
    must(pthread_create(&thread, NULL, partner, NULL) == 0, "pthread_create");
    beside(computes, "pairtasks", count, round_trip);
    pthread_mutex_lock(&lock);
    has_left = 1;
    pthread_cond_signal(&turned);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
}

// --- readyio: from another process's write to the end of our read ----------------------------

static int message_pipe[2];

static int64_t until_read(void) {
    uint64_t sent;
    must(read(message_pipe[0], &sent, sizeof sent) == sizeof sent, "read");
    return (int64_t)(wall_now() - sent);
}
void bench_readyio(long count) {
    must(pipe(message_pipe) == 0, "pipe");
    const pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        close(message_pipe[0]);
        for (uint64_t now = wall_now(); write(message_pipe[1], &now, sizeof now) > 0;
             now = wall_now())
            usleep(2000);
        _exit(0);
    }
    close(message_pipe[1]);
    beside(yields, "readyio", count, until_read);
    close(message_pipe[0]);
    waitpid(child, NULL, 0);
}

// --- timercalls: a sleep of 1 ms beside threads that call something every 20 us --------------

static int64_t late(void) {
    const uint64_t start = wall_now();
    pause_us(1000);
    return (int64_t)(wall_now() - start) - 1000000;
}
void bench_timercalls(long count) { beside(calls, "timercalls", count, late); }

// --- lockagain: a mutex that others take again as soon as they released it -------------------

static void* locks_again(void* arg) {
    while (!over) {
        pthread_mutex_lock(&lock);
        compute_us(20);
        pthread_mutex_unlock(&lock);
    }
    return arg;
}
static int64_t until_locked(void) {
    pause_us(1000);
    const uint64_t start = wall_now();
    pthread_mutex_lock(&lock);
    const int64_t taken = (int64_t)(wall_now() - start);
    pthread_mutex_unlock(&lock);
    return taken;
}
void bench_lockagain(long count) { beside(locks_again, "lockagain", count, until_locked); }
