// Shows:  HTTP/1.1 keep-alive: open, fstat, read or sendfile, and one log FILE for all threads.
// Run:    file_server PORT DIR LOGFILE      (SIGTERM ends it)
// Expect: whole files, 404 for missing ones, and exactly one unbroken log line per request.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SMALL 16384  // Files up to here are read and sent with their header in one writev.

static FILE* log_file;
static const char* root;
static int term_pipe[2];
static atomic_ulong accepted, requests, bytes;

static void log_request(const char* path, int status, long size) {
    char when[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&now, &tm));
    fprintf(log_file, "%s \"GET %s\" %d %ld\n", when, path, status, size);
}

static int send_all(int fd, struct iovec* v, int n) {
    while (n) {
        ssize_t w = writev(fd, v, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return -1;
        while (n && (size_t)w >= v->iov_len) w -= v->iov_len, v++, n--;
        if (n) v->iov_base = (char*)v->iov_base + w, v->iov_len -= w;
    }
    return 0;
}

static int send_error(int fd, const char* path, int status, const char* text) {
    char buf[256];
    int n = snprintf(buf, sizeof buf, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\n\r\n%s\n", status,
                     text, strlen(text) + 1, text);
    struct iovec v = {buf, n};
    log_request(path, status, n);
    atomic_fetch_add(&bytes, n);
    return send_all(fd, &v, 1);
}

static int send_file(int fd, const char* path) {
    char full[512], head[160], body[SMALL];
    struct stat st;
    int err = -1;

    snprintf(full, sizeof full, "%s/%s", root, path);
    int file = strstr(path, "..") ? -1 : open(full, O_RDONLY | O_CLOEXEC);
    if (file < 0) return send_error(fd, path, 404, "Not Found");
    if (fstat(file, &st) || !S_ISREG(st.st_mode)) {
        close(file);
        return send_error(fd, path, 403, "Forbidden");
    }
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                     "Content-Length: %ld\r\n\r\n",
                     (long)st.st_size);
    log_request(path, 200, st.st_size);
    atomic_fetch_add(&bytes, n + st.st_size);
    struct iovec v[2] = {{head, n}, {body, st.st_size}};
    if (st.st_size <= SMALL) {
        if (read(file, body, st.st_size) == st.st_size) err = send_all(fd, v, 2);
    } else if (!(err = send_all(fd, v, 1))) {
        for (off_t off = 0; off < st.st_size && !err;) {
            ssize_t w = sendfile(fd, file, &off, st.st_size - off);
            if (w == 0 || (w < 0 && errno != EINTR)) err = -1;
        }
    }
    close(file);
    return err;
}

static void* serve(void* arg) {
    int fd = (int)(intptr_t)arg, on = 1;
    char buf[4096], path[256], *end;
    size_t have = 0;

    pthread_detach(pthread_self());
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (;;) {
        buf[have] = 0;
        while (!(end = strstr(buf, "\r\n\r\n"))) {
            if (have == sizeof buf - 1) goto out;
            ssize_t n = recv(fd, buf + have, sizeof buf - 1 - have, 0);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) goto out;
            have += n;
            buf[have] = 0;
        }
        *end = 0;
        atomic_fetch_add(&requests, 1);
        int last = strcasestr(buf, "\r\nConnection: close") != NULL;
        int err = sscanf(buf, "GET /%255s HTTP/1.1", path) == 1
                      ? send_file(fd, path)
                      : send_error(fd, "?", 400, "Bad Request");
        if (err || last) break;
        // What follows the header is the beginning of the next, pipelined request.
        have -= end + 4 - buf;
        memmove(buf, end + 4, have);
    }
out:
    close(fd);
    return NULL;
}

// A handler may do little; one byte into a pipe is allowed, and main polls that pipe.
static void on_term(int sig) {
    int saved = errno;
    char c = (char)sig;
    if (write(term_pipe[1], &c, 1) < 0) _exit(1);
    errno = saved;
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
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
    struct sigaction sa = {.sa_handler = on_term, .sa_flags = SA_RESTART};

    if (argc != 4) return fprintf(stderr, "usage: %s PORT DIR LOGFILE\n", argv[0]), 2;
    root = argv[2];
    log_file = fopen(argv[3], "a");
    if (!log_file || pipe(term_pipe)) return perror(argv[3]), 1;
    setvbuf(log_file, NULL, _IOLBF, 8192);
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    int listener = listen_on(atoi(argv[1]));

    struct pollfd p[2] = {{.fd = listener, .events = POLLIN},
                          {.fd = term_pipe[0], .events = POLLIN}};
    while (!(p[1].revents & POLLIN)) {
        if (poll(p, 2, -1) < 0 || !(p[0].revents & POLLIN)) continue;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            if (errno == EMFILE) usleep(10000);
            continue;
        }
        atomic_fetch_add(&accepted, 1);
        pthread_t t;
        if (pthread_create(&t, NULL, serve, (void*)(intptr_t)fd)) {
            perror("pthread_create");
            close(fd);
        }
    }
    fflush(log_file);
    printf("accepted %lu connections, served %lu requests, %lu bytes\n", atomic_load(&accepted),
           atomic_load(&requests), atomic_load(&bytes));
    return 0;
}
