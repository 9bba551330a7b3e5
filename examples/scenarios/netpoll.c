// Shows:  who looks for ready sockets, when many are ready at once on several processors.
// Run:    netpoll [PAIRS [MESSAGES]]      (300 pairs, 200 messages each)
// Expect: about the same on two CPUs; one instance for all costs more with every CPU added.
//
// PAIRS pairs of threads pass one byte to and fro over a socketpair.  Prints CPU time per message,
// which does not depend on what else the machine does.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static long messages;

struct end {
    int fd;
    int begins;
};

static void* pass(void* argument) {
    const struct end* end = argument;
    char byte = 'x';
    for (long i = 0; i < messages; i++) {
        if (end->begins && write(end->fd, &byte, 1) != 1) abort();
        if (read(end->fd, &byte, 1) != 1) abort();
        if (!end->begins && write(end->fd, &byte, 1) != 1) abort();
    }
    return NULL;
}

int main(int argc, char** argv) {
    long pairs = argc > 1 ? atol(argv[1]) : 300;
    messages = argc > 2 ? atol(argv[2]) : 200;
    if (pairs < 1 || pairs > 10000 || messages < 1 || messages > 1000000)
        return fprintf(stderr, "usage: netpoll [PAIRS [MESSAGES]]\n"), 2;
    struct end* ends = calloc((size_t)pairs * 2, sizeof *ends);
    pthread_t* threads = calloc((size_t)pairs * 2, sizeof *threads);
    if (!ends || !threads) return 1;
    for (long i = 0; i < pairs; i++) {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) return perror("socketpair"), 1;
        ends[2 * i] = (struct end){fds[0], 1};
        ends[2 * i + 1] = (struct end){fds[1], 0};
    }
    for (long i = 0; i < 2 * pairs; i++)
        if (pthread_create(&threads[i], NULL, pass, &ends[i])) return perror("pthread_create"), 1;
    for (long i = 0; i < 2 * pairs; i++) pthread_join(threads[i], NULL);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double us = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
                (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    printf("CPU per message %.1f us, context switches per message %.2f\n",
           us / (double)(2 * pairs * messages),
           (double)(used.ru_nvcsw + used.ru_nivcsw) / (double)(2 * pairs * messages));
    return 0;
}
