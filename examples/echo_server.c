// Shows:  the oldest server there is, one thread per connection around blocking read and write.
// Run:    echo_server PORT      (PORT 0 takes a free one; SIGTERM ends it)
// Expect: every byte comes back; as many threads as connections, nearly all of them in read().
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener;
static atomic_bool stopping;
static atomic_ulong accepted, reads, bytes;

static void* serve(void* arg) {
    int fd = (int)(intptr_t)arg;
    char buf[4096];
    for (;;) {
        ssize_t n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        // Counted before the reply goes out, so that a client that saw its reply is in the totals.
        atomic_fetch_add(&reads, 1);
        atomic_fetch_add(&bytes, n);
        for (ssize_t off = 0; off < n;) {
            ssize_t w = write(fd, buf + off, n - off);
            if (w < 0 && errno == EINTR) continue;
            if (w <= 0) goto out;
            off += w;
        }
    }
out:
    close(fd);
    return NULL;
}

// All other threads block SIGTERM; this one takes it and wakes main out of accept.
static void* wait_for_term(void* arg) {
    int sig;
    sigwait(arg, &sig);
    atomic_store(&stopping, true);
    shutdown(listener, SHUT_RDWR);
    return NULL;
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
    fflush(stdout);
    return fd;
}

int main(int argc, char** argv) {
    sigset_t set;
    pthread_t t;
    pthread_attr_t detached;

    if (argc != 2) return fprintf(stderr, "usage: %s PORT\n", argv[0]), 2;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    listener = listen_on(atoi(argv[1]));

    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&t, NULL, wait_for_term, &set)) return perror("pthread_create"), 1;

    while (!atomic_load(&stopping)) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            if (!atomic_load(&stopping) && errno != EINTR && errno != ECONNABORTED) {
                perror("accept");
                usleep(10000);  // Out of descriptors: give the others time to close theirs.
            }
            continue;
        }
        atomic_fetch_add(&accepted, 1);
        pthread_t c;
        int err = pthread_create(&c, &detached, serve, (void*)(intptr_t)fd);
        if (err) {
            fprintf(stderr, "pthread_create: %s\n", strerror(err));
            close(fd);
        }
    }
    pthread_join(t, NULL);
    printf("accepted %lu connections, served %lu requests, %lu bytes\n", atomic_load(&accepted),
           atomic_load(&reads), atomic_load(&bytes));
    return 0;
}
