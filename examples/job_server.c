// Shows:  a job queue: worker pool, pthread_cond_timedwait deadlines, pthread_cancel of overruns.
// Run:    job_server PORT [WORKERS]      (then: RUN tag sum|sleep N timeout_ms; SIGTERM ends it)
// Expect: DONE tag value or TIMEOUT tag; a cancelled worker cleans up and is replaced.
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum state { QUEUED, RUNNING, DONE, CANCELLED };

struct job {  // on the stack of the connection that asked for it
    struct job* next;
    enum state state;
    int cancel_sent, finished, is_sleep;
    unsigned long arg, value;
    pthread_t worker;
    pthread_cond_t ended;
};

struct dead {
    struct dead* next;
    pthread_t worker;
};

// One lock for everything here, as such programs have it.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER, died = PTHREAD_COND_INITIALIZER;
static struct job *queue, **queue_tail = &queue;
static struct dead* graveyard;
static unsigned long accepted, requests, bytes, timeouts, cancelled, replaced, scratch_live;

static void release_scratch(void* p) {
    free(p);
    __atomic_fetch_sub(&scratch_live, 1, __ATOMIC_RELAXED);
}

// Every job has some memory, which must not leak when the job is cancelled in the middle.
static unsigned long run_job(const struct job* j) {
    unsigned long value = 0;
    unsigned* scratch = malloc(4096);
    __atomic_fetch_add(&scratch_live, 1, __ATOMIC_RELAXED);
    pthread_cleanup_push(release_scratch, scratch);
    if (j->is_sleep) {
        struct timespec ts = {j->arg / 1000, j->arg % 1000 * 1000000};
        while (nanosleep(&ts, &ts) && errno == EINTR) continue;
        value = j->arg;
    } else {
        memset(scratch, 0, 4096);
        for (unsigned long i = 1; i <= j->arg; i++) scratch[i % 1024] += i * i % 7919;
        for (int i = 0; i < 1024; i++) value += scratch[i];
    }
    pthread_cleanup_pop(1);
    return value;
}

// Runs when a worker is cancelled inside its job, or leaves because a cancel came too late.
static void bury(void* arg) {
    struct job* j = arg;
    struct dead* d = malloc(sizeof *d);
    if (!d) abort();
    pthread_mutex_lock(&lock);
    d->worker = pthread_self();
    d->next = graveyard;
    graveyard = d;
    j->state = j->finished ? DONE : CANCELLED;
    pthread_cond_signal(&j->ended);
    pthread_cond_signal(&died);
    pthread_mutex_unlock(&lock);
}

static void* worker(void* arg) {
    (void)arg;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!queue) pthread_cond_wait(&work, &lock);
        struct job* j = queue;
        if (!(queue = j->next)) queue_tail = &queue;
        j->state = RUNNING;
        j->worker = pthread_self();
        pthread_mutex_unlock(&lock);

        pthread_cleanup_push(bury, j);
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
        unsigned long value = run_job(j);
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        pthread_mutex_lock(&lock);
        int late = j->cancel_sent;
        j->finished = 1;
        j->value = value;
        // With a late cancel pending the next job would die of it: this worker ends instead, and
        // the job is over only when bury has run.
        if (!late) {
            j->state = DONE;
            pthread_cond_signal(&j->ended);
        }
        pthread_mutex_unlock(&lock);
        if (late) pthread_exit(PTHREAD_CANCELED);
        pthread_cleanup_pop(0);
    }
    return NULL;
}

static void start_worker(void) {
    pthread_t t;
    int err = pthread_create(&t, NULL, worker, NULL);
    if (err) {
        fprintf(stderr, "pthread_create: %s\n", strerror(err));
        exit(1);
    }
}

static void* supervisor(void* arg) {
    (void)arg;
    for (;;) {
        void* result;
        pthread_mutex_lock(&lock);
        while (!graveyard) pthread_cond_wait(&died, &lock);
        struct dead* d = graveyard;
        graveyard = d->next;
        replaced++;
        pthread_mutex_unlock(&lock);
        if (pthread_join(d->worker, &result) || result != PTHREAD_CANCELED) abort();
        free(d);
        start_worker();
    }
    return NULL;
}

// Returns 1 when the job ended in time.
static int submit(struct job* j, unsigned long timeout_ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    until.tv_sec += timeout_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_init(&j->ended, NULL);
    pthread_mutex_lock(&lock);
    requests++;
    *queue_tail = j;
    queue_tail = &j->next;
    pthread_cond_signal(&work);
    int err = 0;
    while (j->state < DONE && err != ETIMEDOUT)
        err = pthread_cond_timedwait(&j->ended, &lock, &until);
    if (j->state == QUEUED) {
        struct job** p = &queue;
        while (*p != j) p = &(*p)->next;
        if (!(*p = j->next)) queue_tail = p;
        j->state = CANCELLED;
    } else if (j->state == RUNNING) {
        j->cancel_sent = 1;
        pthread_cancel(j->worker);
        while (j->state == RUNNING) pthread_cond_wait(&j->ended, &lock);
        cancelled++;
    }
    if (j->state == CANCELLED) timeouts++;
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&j->ended);
    return j->state == DONE;
}

static void* serve(void* arg) {
    int fd = (int)(intptr_t)arg;
    char buf[256], reply[128], tag[32], kind[8], *nl;
    size_t have = 0;
    unsigned long n, ms;

    for (;;) {
        while (!(nl = memchr(buf, '\n', have))) {
            ssize_t got = have < sizeof buf ? read(fd, buf + have, sizeof buf - have) : 0;
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) goto out;
            have += got;
        }
        *nl = 0;
        if (sscanf(buf, "RUN %31s %7s %lu %lu", tag, kind, &n, &ms) != 4) break;
        struct job j = {.arg = n, .is_sleep = !strcmp(kind, "sleep")};
        int len = submit(&j, ms) ? sprintf(reply, "DONE %s %lu\n", tag, j.value)
                                 : sprintf(reply, "TIMEOUT %s\n", tag);
        __atomic_fetch_add(&bytes, len, __ATOMIC_RELAXED);
        if (write(fd, reply, len) != len) break;
        have -= nl + 1 - buf;
        memmove(buf, nl + 1, have);
    }
out:
    close(fd);
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
    sigset_t term;
    pthread_t t;
    struct signalfd_siginfo info;

    if (argc < 2) return fprintf(stderr, "usage: %s PORT [WORKERS]\n", argv[0]), 2;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigaddset(&term, SIGINT);
    pthread_sigmask(SIG_BLOCK, &term, NULL);
    struct pollfd p[2] = {{.fd = listen_on(atoi(argv[1])), .events = POLLIN},
                          {.fd = signalfd(-1, &term, 0), .events = POLLIN}};
    for (int i = argc > 2 ? atoi(argv[2]) : 64; i > 0; i--) start_worker();
    if (pthread_create(&t, NULL, supervisor, NULL)) return perror("pthread_create"), 1;

    for (;;) {
        if (poll(p, 2, -1) < 0) continue;
        if (p[1].revents & POLLIN && read(p[1].fd, &info, sizeof info) == sizeof info) break;
        int fd = p[0].revents & POLLIN ? accept(p[0].fd, NULL, NULL) : -1;
        if (fd < 0) {
            usleep(10000);  // Out of descriptors: give the others time to close theirs.
            continue;
        }
        pthread_mutex_lock(&lock);
        accepted++;
        pthread_mutex_unlock(&lock);
        if (pthread_create(&t, NULL, serve, (void*)(intptr_t)fd)) {
            perror("pthread_create");
            close(fd);
            continue;
        }
        pthread_detach(t);
    }
    pthread_mutex_lock(&lock);
    printf("%lu timeouts, %lu running jobs cancelled, %lu workers replaced, %lu jobs hold memory\n",
           timeouts, cancelled, replaced, __atomic_load_n(&scratch_live, __ATOMIC_RELAXED));
    printf("accepted %lu connections, served %lu requests, %lu bytes\n", accepted, requests,
           __atomic_load_n(&bytes, __ATOMIC_RELAXED));
    pthread_mutex_unlock(&lock);
    return 0;
}
