// Shows:  a durable key-value store: OK means that fsync has returned; writers share fsyncs.
// Run:    kv_server PORT LOGFILE      (then: SET key value, GET key, DEL key; SIGTERM ends it)
// Expect: OK, VALUE ... or NONE; the log is read back at the next start; fewer fsyncs than SETs.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUCKETS 16384

struct entry {
    struct entry* next;
    char* value;
    char key[];
};

static struct entry* table[BUCKETS];
static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;

// The log: records gather in `pending`; one of the waiting threads writes and syncs them for all.
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t log_durable = PTHREAD_COND_INITIALIZER;
static int log_fd, log_busy;
static char* pending;
static size_t pending_len, pending_cap;
static unsigned long log_appended, log_synced, syncs;

static volatile sig_atomic_t stopping;
static atomic_ulong accepted, requests, bytes;

static struct entry** find(const char* key) {
    unsigned h = 5381;
    for (const char* p = key; *p; p++) h = h * 33 + (unsigned char)*p;
    struct entry** e = &table[h % BUCKETS];
    while (*e && strcmp((*e)->key, key)) e = &(*e)->next;
    return e;
}

static void* must(void* p) {
    if (!p) abort();
    return p;
}

// Caller holds the table for writing (or is the only thread).
static int change(const char* key, const char* value) {
    struct entry **e = find(key), *old = *e;
    if (!value) {
        if (!old) return 0;
        *e = old->next;
        free(old->value);
        free(old);
        return 1;
    }
    if (!old) {
        *e = must(calloc(1, sizeof **e + strlen(key) + 1));
        strcpy((*e)->key, key);
    }
    free((*e)->value);
    (*e)->value = must(strdup(value));
    return 1;
}

// Called with the table locked, so that the log has the order of the changes.
static unsigned long append(const char* key, const char* value) {
    size_t need = strlen(key) + (value ? strlen(value) : 0) + 8;
    pthread_mutex_lock(&log_lock);
    if (pending_len + need > pending_cap)
        pending = must(realloc(pending, pending_cap = (pending_len + need) * 2));
    pending_len += value ? sprintf(pending + pending_len, "S %s %s\n", key, value)
                         : sprintf(pending + pending_len, "D %s\n", key);
    unsigned long seq = ++log_appended;
    pthread_mutex_unlock(&log_lock);
    return seq;
}

static void wait_durable(unsigned long seq) {
    pthread_mutex_lock(&log_lock);
    while (log_synced < seq) {
        if (log_busy) {
            pthread_cond_wait(&log_durable, &log_lock);
            continue;
        }
        // Nobody is syncing: this thread does it, for everything that has gathered until now.
        char* buf = pending;
        size_t len = pending_len;
        unsigned long upto = log_appended;
        log_busy = 1;
        pending = NULL;
        pending_len = pending_cap = 0;
        pthread_mutex_unlock(&log_lock);
        for (size_t off = 0; off < len;) {
            ssize_t n = write(log_fd, buf + off, len - off);
            if (n < 0 && errno != EINTR) perror("log"), abort();
            if (n > 0) off += n;
        }
        if (fsync(log_fd)) perror("fsync"), abort();
        free(buf);
        pthread_mutex_lock(&log_lock);
        log_busy = 0;
        log_synced = upto;
        syncs++;
        pthread_cond_broadcast(&log_durable);
    }
    pthread_mutex_unlock(&log_lock);
}

static int update(const char* key, const char* value) {
    unsigned long seq = 0;
    pthread_rwlock_wrlock(&table_lock);
    int changed = change(key, value);
    if (changed) seq = append(key, value);
    pthread_rwlock_unlock(&table_lock);
    if (changed) wait_durable(seq);
    return changed;
}

static int answer(const char* line, char* reply, size_t size) {
    char key[128], value[512];
    if (sscanf(line, "SET %127s %511[^\n]", key, value) == 2) {
        update(key, value);
        return snprintf(reply, size, "OK\n");
    }
    if (sscanf(line, "DEL %127s", key) == 1)
        return snprintf(reply, size, update(key, NULL) ? "OK\n" : "NONE\n");
    if (sscanf(line, "GET %127s", key) == 1) {
        pthread_rwlock_rdlock(&table_lock);
        struct entry* e = *find(key);
        int n = e ? snprintf(reply, size, "VALUE %s\n", e->value) : snprintf(reply, size, "NONE\n");
        pthread_rwlock_unlock(&table_lock);
        return n;
    }
    return snprintf(reply, size, "ERROR what?\n");
}

static void* serve(void* arg) {
    int fd = (int)(intptr_t)arg;
    char buf[1024], reply[600], *nl;
    size_t have = 0;

    for (;;) {
        while (!(nl = memchr(buf, '\n', have))) {
            ssize_t n = have < sizeof buf ? recv(fd, buf + have, sizeof buf - have, 0) : 0;
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) goto out;
            have += n;
        }
        *nl = 0;
        int len = answer(buf, reply, sizeof reply);
        atomic_fetch_add(&requests, 1);
        atomic_fetch_add(&bytes, len);
        if (send(fd, reply, len, MSG_NOSIGNAL) != len) break;
        have -= nl + 1 - buf;
        memmove(buf, nl + 1, have);
    }
out:
    close(fd);
    return NULL;
}

static void load_log(const char* path) {
    FILE* f = fopen(path, "r");
    char *line = NULL, key[128], value[512];
    size_t cap = 0;
    while (f && getline(&line, &cap, f) > 0) {
        if (sscanf(line, "S %127s %511[^\n]", key, value) == 2)
            change(key, value);
        else if (sscanf(line, "D %127s", key) == 1)
            change(key, NULL);
    }
    free(line);
    if (f) fclose(f);
}

static void on_term(int sig) {
    (void)sig;
    stopping = 1;
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
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
    struct sigaction sa = {.sa_handler = on_term};
    sigset_t term, before;
    pthread_attr_t attr;

    if (argc != 3) return fprintf(stderr, "usage: %s PORT LOGFILE\n", argv[0]), 2;
    load_log(argv[2]);
    log_fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_fd < 0) return perror(argv[2]), 1;
    // Blocked everywhere and let in only while main sits in ppoll: no wake-up can be missed.
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigaddset(&term, SIGINT);
    pthread_sigmask(SIG_BLOCK, &term, &before);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    struct pollfd p = {.fd = listen_on(atoi(argv[1])), .events = POLLIN};

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    while (!stopping) {
        if (ppoll(&p, 1, NULL, &before) < 0) continue;
        int fd = accept4(p.fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE) usleep(10000);
            continue;
        }
        atomic_fetch_add(&accepted, 1);
        pthread_t t;
        int err = pthread_create(&t, &attr, serve, (void*)(intptr_t)fd);
        if (err) {
            fprintf(stderr, "pthread_create: %s\n", strerror(err));
            close(fd);
        }
    }
    pthread_mutex_lock(&log_lock);
    printf("%lu changes in %lu fsyncs\n", log_synced, syncs);
    pthread_mutex_unlock(&log_lock);
    printf("accepted %lu connections, served %lu requests, %lu bytes\n", atomic_load(&accepted),
           atomic_load(&requests), atomic_load(&bytes));
    return 0;
}
