// Micro benchmarks of thread operations: micro NAME [COUNT].  "micro list" names them all.
//
// Plain pthread code that knows nothing of the library, so that both columns of a comparison run
// the same binary.  This file holds the meters, thread life and locks; micro_io.c and
// micro_block.c the rest.
#include "micro.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { kMany = 8 };

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t wall_now(void) { return clock_ns(CLOCK_MONOTONIC); }

meter meter_start(void) { return (meter){wall_now(), clock_ns(CLOCK_PROCESS_CPUTIME_ID)}; }

void meter_report(const char* name, meter start, uint64_t operations) {
    meter end = meter_start();
    printf("%s %.1f %.1f\n", name, (double)(end.wall_ns - start.wall_ns) / (double)operations,
           (double)(end.cpu_ns - start.cpu_ns) / (double)operations);
    fflush(stdout);
}

void report_value(const char* name, double value) {
    printf("%s %.2f\n", name, value);
    fflush(stdout);
}

void must(int ok, const char* what) {
    if (ok) return;
    printf("failed: %s\n", what);
    fflush(stdout);
    _exit(1);
}

static void* do_nothing(void* arg) { return arg; }

static pthread_t spawn(void* (*body)(void*), void* arg) {
    pthread_t thread;
    must(pthread_create(&thread, NULL, body, arg) == 0, "pthread_create");
    return thread;
}

void bench_create(long count) {
    if (!count) count = 20000;
    meter start = meter_start();
    for (long i = 0; i < count; i++) {
        void* result;
        pthread_t thread = spawn(do_nothing, (void*)(i + 1));
        must(pthread_join(thread, &result) == 0 && result == (void*)(i + 1), "join");
    }
    meter_report("create", start, (uint64_t)count);
}

void bench_burst(long count) {
    if (!count) count = 5000;
    pthread_t* threads = malloc((size_t)count * sizeof *threads);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    meter start = meter_start();
    for (long i = 0; i < count; i++)
        must(pthread_create(&threads[i], &attributes, do_nothing, NULL) == 0, "pthread_create");
    for (long i = 0; i < count; i++) pthread_join(threads[i], NULL);
    meter_report("burst", start, (uint64_t)count);
    free(threads);
}

// Ping-pongs: an operation is one hand-over, so a round trip counts as two.  Every partner
// checks the turn it was given; a lost or doubled wake-up hangs or fails.
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static int turn;
static long rounds;

static void* cond_side(void* arg) {
    int mine = arg != NULL;
    pthread_mutex_lock(&turn_lock);
    for (long i = 0; i < rounds; i++) {
        while (turn != mine) pthread_cond_wait(&turn_changed, &turn_lock);
        turn = !mine;
        pthread_cond_signal(&turn_changed);
    }
    pthread_mutex_unlock(&turn_lock);
    return NULL;
}

static void two_sides(const char* name, void* (*body)(void*)) {
    meter start = meter_start();
    pthread_t a = spawn(body, NULL), b = spawn(body, (void*)1);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    meter_report(name, start, 2 * (uint64_t)rounds);
}

void bench_condpp(long count) {
    rounds = count ? count : 100000;
    two_sides("condpp", cond_side);
}

static sem_t semaphores[2];

static void* sem_side(void* arg) {
    int mine = arg != NULL;
    for (long i = 0; i < rounds; i++) {
        while (sem_wait(&semaphores[mine]) != 0) {
        }
        sem_post(&semaphores[!mine]);
    }
    return NULL;
}

void bench_sempp(long count) {
    rounds = count ? count : 100000;
    sem_init(&semaphores[0], 0, 1);
    sem_init(&semaphores[1], 0, 0);
    two_sides("sempp", sem_side);
}

static int reads_from[2], writes_to[2];

static void* descriptor_side(void* arg) {
    int mine = arg != NULL;
    for (long i = 0; i < rounds; i++) {
        char byte = (char)i, got = 0;
        if (mine == 0) must(write(writes_to[0], &byte, 1) == 1, "write");
        must(read(reads_from[mine], &got, 1) == 1 && got == byte, "read");
        if (mine == 1) must(write(writes_to[1], &byte, 1) == 1, "write");
    }
    return NULL;
}

void bench_pipepp(long count) {
    int there[2], back[2];
    rounds = count ? count : 50000;
    must(pipe(there) == 0 && pipe(back) == 0, "pipe");
    writes_to[0] = there[1], reads_from[1] = there[0];
    writes_to[1] = back[1], reads_from[0] = back[0];
    two_sides("pipepp", descriptor_side);
}

void bench_sockpp(long count) {
    int pair[2];
    rounds = count ? count : 50000;
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    writes_to[0] = reads_from[0] = pair[0];
    writes_to[1] = reads_from[1] = pair[1];
    two_sides("sockpp", descriptor_side);
}

// The counter keeps the compiler from joining critical sections and shows that the lock excludes.
static pthread_mutex_t counter_lock = PTHREAD_MUTEX_INITIALIZER;
static volatile long counter;

static void* count_locked(void* arg) {
    (void)arg;
    for (long i = 0; i < rounds; i++) {
        pthread_mutex_lock(&counter_lock);
        counter = counter + 1;
        pthread_mutex_unlock(&counter_lock);
    }
    return NULL;
}

static void many(const char* name, void* (*body)(void*)) {
    pthread_t threads[kMany];
    meter start = meter_start();
    for (intptr_t i = 0; i < kMany; i++) threads[i] = spawn(body, (void*)i);
    for (int i = 0; i < kMany; i++) pthread_join(threads[i], NULL);
    meter_report(name, start, kMany * (uint64_t)rounds);
}

void bench_mutex1(long count) {
    rounds = count ? count : 20000000;
    // In a second thread: with one thread only, the library has not started and there is nothing
    // to compare.
    meter start = meter_start();
    pthread_join(spawn(count_locked, NULL), NULL);
    meter_report("mutex1", start, (uint64_t)rounds);
    must(counter == rounds, "count");
}

void bench_mutex8(long count) {
    rounds = count ? count : 500000;
    many("mutex8", count_locked);
    must(counter == kMany * rounds, "count");
}

static void* yield_often(void* arg) {
    for (long i = 0; i < rounds; i++) sched_yield();
    return arg;
}

void bench_yield8(long count) {
    rounds = count ? count : 100000;
    many("yield8", yield_often);
}

// A token goes round eight threads, each waiting on a condition variable of its own.
static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ring_place[kMany];
static int ring_token;

static void* pass_on(void* arg) {
    int mine = (int)(intptr_t)arg;
    pthread_mutex_lock(&ring_lock);
    for (long i = 0; i < rounds; i++) {
        while (ring_token != mine) pthread_cond_wait(&ring_place[mine], &ring_lock);
        ring_token = (mine + 1) % kMany;
        pthread_cond_signal(&ring_place[ring_token]);
    }
    pthread_mutex_unlock(&ring_lock);
    return NULL;
}

void bench_ring8(long count) {
    rounds = count ? count : 12500;
    for (int i = 0; i < kMany; i++) pthread_cond_init(&ring_place[i], NULL);
    many("ring8", pass_on);
}

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static volatile long guarded[2];

// One access in 64 writes; readers check that the two halves of the value never differ.
static void* read_mostly(void* arg) {
    for (long i = 0; i < rounds; i++) {
        if ((i & 63) == 63) {
            pthread_rwlock_wrlock(&rwlock);
            guarded[0] = guarded[0] + 1;
            guarded[1] = guarded[1] + 1;
        } else {
            pthread_rwlock_rdlock(&rwlock);
            must(guarded[0] == guarded[1], "reader beside a writer");
        }
        pthread_rwlock_unlock(&rwlock);
    }
    return arg;
}

void bench_rwlock8(long count) {
    rounds = count ? count : 500000;
    many("rwlock8", read_mostly);
}

static const struct {
    const char* name;
    void (*run)(long);
} kBenches[] = {
    {"create", bench_create},         {"burst", bench_burst},
    {"condpp", bench_condpp},         {"sempp", bench_sempp},
    {"pipepp", bench_pipepp},         {"sockpp", bench_sockpp},
    {"mutex1", bench_mutex1},         {"mutex8", bench_mutex8},
    {"yield8", bench_yield8},         {"ring8", bench_ring8},
    {"rwlock8", bench_rwlock8},       {"alive", bench_alive},
    {"nanosleep", bench_nanosleep},   {"hog", bench_hog},
    {"fsync64", bench_fsync64},       {"fileserve", bench_fileserve},
    {"servefiles", bench_servefiles}, {"servecached", bench_servecached},
    {"semping", bench_semping},       {"fifoopen", bench_fifoopen},
    {"slowstat", bench_slowstat},     {"convoy", bench_convoy},
    {"newtask", bench_newtask},       {"pairtasks", bench_pairtasks},
    {"readyio", bench_readyio},       {"timercalls", bench_timercalls},
    {"lockagain", bench_lockagain},
};

int main(int argc, char** argv) {
    enum { kCount = sizeof kBenches / sizeof kBenches[0] };
    if (argc > 1 && strcmp(argv[1], "startup") == 0) {
        static char* plain[] = {"true", NULL};
        bench_startup(argc > 2 ? atol(argv[2]) : 0, argc > 3 ? argv + 3 : plain);
        return 0;
    }
    for (int i = 0; argc > 1 && i < kCount; i++)
        if (strcmp(argv[1], kBenches[i].name) == 0) {
            kBenches[i].run(argc > 2 ? atol(argv[2]) : 0);
            return 0;
        }
    fprintf(stderr, "usage: micro NAME [COUNT], NAME one of:");
    for (int i = 0; i < kCount; i++) fprintf(stderr, " %s", kBenches[i].name);
    fprintf(stderr, "\n       micro startup [COUNT [PROGRAM ARGS...]]\n");
    return argc > 1 && strcmp(argv[1], "list") == 0 ? 0 : 2;
}
