// Shows:  requests that burn CPU without a call: only preemption keeps the others alive.
// Run:    cpu_server PORT      (then: PRIMES from count; SIGTERM ends it)
// Expect: the number of primes in [from, from + count); all connections advance at one pace.
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener;
static volatile sig_atomic_t stopping;
static atomic_ulong accepted, requests, bytes;

static int is_prime(unsigned long n) {
    if (n < 4) return n > 1;
    if (n % 2 == 0) return 0;
    for (unsigned long d = 3; d * d <= n; d += 2)
        if (n % d == 0) return 0;
    return 1;
}

static void* serve(void* arg) {
    int fd = (int)(intptr_t)arg;
    char buf[256];
    size_t have = 0;

    for (;;) {
        char* nl = memchr(buf, '\n', have);
        if (!nl) {
            ssize_t n = have < sizeof buf ? read(fd, buf + have, sizeof buf - have) : 0;
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) break;
            have += n;
            continue;
        }
        unsigned long from, count, primes = 0;
        *nl = 0;
        if (sscanf(buf, "PRIMES %lu %lu", &from, &count) != 2) break;
        for (unsigned long n = from; n < from + count; n++) primes += is_prime(n);
        char reply[64];
        int len = snprintf(reply, sizeof reply, "%lu %lu %lu\n", from, count, primes);
        atomic_fetch_add(&requests, 1);
        atomic_fetch_add(&bytes, len);
        if (write(fd, reply, len) != len) break;
        have -= nl + 1 - buf;
        memmove(buf, nl + 1, have);
    }
    close(fd);
    return NULL;
}

// shutdown is async-signal-safe and ends main's accept, whichever thread the handler runs on.
static void on_term(int sig) {
    int saved = errno;
    (void)sig;
    stopping = 1;
    shutdown(listener, SHUT_RDWR);
    errno = saved;
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof sa;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr*)&sa, sizeof sa) || listen(fd, 1024)) {
        perror("listen");
        exit(1);
    }
    getsockname(fd, (struct sockaddr*)&sa, &len);
    printf("listening on %d\n", ntohs(sa.sin_port));
    return fd;
}

int main(int argc, char** argv) {
    struct sigaction sa = {.sa_handler = on_term};

    if (argc != 2) return fprintf(stderr, "usage: %s PORT\n", argv[0]), 2;
    signal(SIGPIPE, SIG_IGN);
    listener = listen_on(atoi(argv[1]));
    // Installed before the port is told to anybody, so that no early SIGTERM finds the default
    // action.
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    fflush(stdout);

    while (!stopping) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            if (errno == EMFILE) usleep(10000);
            continue;
        }
        atomic_fetch_add(&accepted, 1);
        pthread_t t;
        int err = pthread_create(&t, NULL, serve, (void*)(intptr_t)fd);
        if (err) {
            fprintf(stderr, "pthread_create: %s\n", strerror(err));
            close(fd);
            continue;
        }
        pthread_detach(t);
    }
    printf("accepted %lu connections, served %lu requests, %lu bytes\n", atomic_load(&accepted),
           atomic_load(&requests), atomic_load(&bytes));
    return 0;
}
