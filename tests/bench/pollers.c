// Go issue 65064 on socket pairs: one thread at each end, small messages in a closed loop.
//
//     pollers PAIRS MESSAGES [ACTIVE]
//
// ACTIVE pairs exchange MESSAGES in all; the rest wait.  Prints one line of name=value: messages,
// CPU time, context switches of the timed part.  Every message is compared.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "micro.h"

static long rounds, active;
static pthread_barrier_t ready;
static int (*ends)[2];

void must(int ok, const char* what) {
    if (ok) return;
    perror(what);
    exit(1);
}

static int read_word(int fd, uint64_t* word) {
    size_t got = 0;
    while (got < sizeof *word) {
        ssize_t now = read(fd, (char*)word + got, sizeof *word - got);
        if (now <= 0) return 0;
        got += (size_t)now;
    }
    return 1;
}

static void* serve(void* argument) {
    int fd = ends[(intptr_t)argument][0];
    uint64_t word;
    while (read_word(fd, &word)) must(write(fd, &word, sizeof word) == sizeof word, "write");
    return NULL;
}

static void* ask(void* argument) {
    intptr_t i = (intptr_t)argument;
    int fd = ends[i][1];
    uint64_t word = (uint64_t)i << 32, answer;
    // Its server waits, and is registered with its poller, before the clock starts.
    must(write(fd, &word, sizeof word) == sizeof word && read_word(fd, &answer), "first message");
    pthread_barrier_wait(&ready);
    for (long k = 1; i < active && k <= rounds; k++) {
        word++;
        must(write(fd, &word, sizeof word) == sizeof word, "write");
        must(read_word(fd, &answer) && answer == word, "another answer");
    }
    pthread_barrier_wait(&ready);
    return NULL;
}

static uint64_t cpu_us(const struct rusage* usage) {
    return (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}

int main(int argc, char** argv) {
    must(argc >= 3, "usage: pollers PAIRS MESSAGES [ACTIVE]");
    long pairs = atol(argv[1]);
    active = argc > 3 ? atol(argv[3]) : pairs;
    must(pairs > 0 && active > 0 && active <= pairs, "PAIRS, ACTIVE");
    rounds = atol(argv[2]) / active;
    ends = calloc((size_t)pairs, sizeof *ends);
    pthread_t* threads = calloc((size_t)pairs * 2, sizeof *threads);
    must(ends && threads, "memory");
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    pthread_barrier_init(&ready, NULL, (unsigned)pairs + 1);
    for (long i = 0; i < pairs; i++)
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]) == 0, "socketpair");
    for (long i = 0; i < pairs * 2; i++)
        must(pthread_create(&threads[i], &attributes, i % 2 ? ask : serve,
                            (void*)(intptr_t)(i / 2)) == 0,
             "pthread_create");
    struct rusage before, after;
    pthread_barrier_wait(&ready);
    getrusage(RUSAGE_SELF, &before);
    pthread_barrier_wait(&ready);
    getrusage(RUSAGE_SELF, &after);
    printf("messages=%ld cpu_us=%llu voluntary=%ld involuntary=%ld\n", rounds * active,
           (unsigned long long)(cpu_us(&after) - cpu_us(&before)), after.ru_nvcsw - before.ru_nvcsw,
           after.ru_nivcsw - before.ru_nivcsw);
    for (long i = 0; i < pairs; i++) shutdown(ends[i][1], SHUT_RDWR);
    for (long i = 0; i < pairs * 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
