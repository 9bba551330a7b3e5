// Shows:  stdio on sockets (fgets, fprintf), rooms under a mutex, an outbox per client.
// Run:    chat_server PORT      (then: JOIN room nick, SAY text, QUIT; SIGTERM ends it)
// Expect: every member of a room reads all its lines in one order; two threads per connection.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_OUTBOX 10000  // A client this many lines behind is not reading; it is thrown out.

struct line {
    struct line* next;
    char text[];
};

struct client {
    FILE *in, *out;
    char nick[32];
    struct room* room;
    struct client* next;  // in the room
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct line *head, **tail;  // lines that the writer thread still has to send
    int queued, closing;
};

struct room {
    struct room* next;
    pthread_mutex_t lock;
    struct client* members;
    int count;
    char name[32];
};

static struct room* rooms;
static pthread_mutex_t rooms_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t totals_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long accepted, requests, bytes;

static void count(unsigned long a, unsigned long r, unsigned long b) {
    pthread_mutex_lock(&totals_lock);
    accepted += a;
    requests += r;
    bytes += b;
    pthread_mutex_unlock(&totals_lock);
}

static void post(struct client* c, const char* text) {
    size_t len = strlen(text) + 1;
    struct line* l = malloc(sizeof *l + len);
    if (!l) return;
    memcpy(l->text, text, len);
    l->next = NULL;
    pthread_mutex_lock(&c->lock);
    *c->tail = l;
    c->tail = &l->next;
    if (++c->queued == MAX_OUTBOX) shutdown(fileno(c->in), SHUT_RDWR);
    pthread_cond_signal(&c->filled);
    pthread_mutex_unlock(&c->lock);
}

static void* writer(void* arg) {
    struct client* c = arg;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (!c->head && !c->closing) pthread_cond_wait(&c->filled, &c->lock);
        if (!c->head) break;
        struct line* l = c->head;
        c->head = NULL;
        c->tail = &c->head;
        c->queued = 0;
        pthread_mutex_unlock(&c->lock);
        // Sent without the lock: the socket may be full, and posters must not wait for it.
        unsigned long sent = 0;
        while (l) {
            struct line* next = l->next;
            int n = fprintf(c->out, "%s\n", l->text);
            if (n > 0) sent += n;
            free(l);
            l = next;
        }
        count(0, 0, sent);
        fflush(c->out);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static struct room* find_room(const char* name) {
    struct room* r;
    pthread_mutex_lock(&rooms_lock);
    for (r = rooms; r && strcmp(r->name, name); r = r->next) continue;
    if (!r && (r = calloc(1, sizeof *r))) {
        snprintf(r->name, sizeof r->name, "%s", name);
        pthread_mutex_init(&r->lock, NULL);
        r->next = rooms;
        rooms = r;
    }
    pthread_mutex_unlock(&rooms_lock);
    return r;
}

static void leave(struct client* c) {
    struct client** p;
    if (!c->room) return;
    pthread_mutex_lock(&c->room->lock);
    for (p = &c->room->members; *p != c; p = &(*p)->next) continue;
    *p = c->next;
    c->room->count--;
    pthread_mutex_unlock(&c->room->lock);
    c->room = NULL;
}

static void join(struct client* c, const char* name, const char* nick) {
    char msg[96];
    leave(c);
    struct room* r = find_room(name);
    if (!r) return;
    snprintf(c->nick, sizeof c->nick, "%s", nick);
    pthread_mutex_lock(&r->lock);
    c->room = r;
    c->next = r->members;
    r->members = c;
    snprintf(msg, sizeof msg, "JOINED %s %d", r->name, ++r->count);
    post(c, msg);
    pthread_mutex_unlock(&r->lock);
}

static void say(struct client* c, const char* text) {
    char msg[600];
    if (!c->room) {
        post(c, "ERROR join a room first");
        return;
    }
    snprintf(msg, sizeof msg, "%s: %s", c->nick, text);
    // The room stays locked while all outboxes are filled: this gives all members the same order.
    pthread_mutex_lock(&c->room->lock);
    for (struct client* m = c->room->members; m; m = m->next) post(m, msg);
    pthread_mutex_unlock(&c->room->lock);
}

static void hang_up(struct client* c) {
    fclose(c->in);
    fclose(c->out);
    pthread_cond_destroy(&c->filled);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static void* reader(void* arg) {
    struct client* c = arg;
    char buf[512], name[32], nick[32];
    pthread_t w;

    if (pthread_create(&w, NULL, writer, c)) goto gone;
    while (fgets(buf, sizeof buf, c->in)) {
        buf[strcspn(buf, "\r\n")] = 0;
        count(0, 1, 0);
        if (sscanf(buf, "JOIN %31s %31s", name, nick) == 2)
            join(c, name, nick);
        else if (!strncmp(buf, "SAY ", 4))
            say(c, buf + 4);
        else if (!strcmp(buf, "QUIT"))
            break;
        else
            post(c, "ERROR what?");
    }
    leave(c);
    pthread_mutex_lock(&c->lock);
    c->closing = 1;
    pthread_cond_signal(&c->filled);
    pthread_mutex_unlock(&c->lock);
    pthread_join(w, NULL);
gone:
    hang_up(c);
    return NULL;
}

static void* acceptor(void* arg) {
    int listener = (int)(intptr_t)arg;
    for (;;) {
        int fd = accept(listener, NULL, NULL), on = 1, old;
        if (fd < 0) {
            usleep(10000);
            continue;
        }
        // main cancels this thread: it may only end in accept, never with half a client in hand.
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
        count(1, 0, 0);
        // Lines are short and nobody answers each one: Nagle would hold them back for 40 ms.
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct client* c = calloc(1, sizeof *c);
        pthread_t t;
        // Two FILEs, since a reader blocked in fgets holds the lock of its own.
        int copy = dup(fd);
        if (!c || copy < 0 || !(c->in = fdopen(fd, "r")) || !(c->out = fdopen(copy, "w"))) {
            perror("client");
            exit(1);
        }
        c->tail = &c->head;
        pthread_mutex_init(&c->lock, NULL);
        pthread_cond_init(&c->filled, NULL);
        if (pthread_create(&t, NULL, reader, c)) {
            perror("pthread_create");
            hang_up(c);
        } else {
            pthread_detach(t);
        }
        pthread_setcancelstate(old, NULL);
    }
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
    void* result;
    int sig;

    if (argc != 2) return fprintf(stderr, "usage: %s PORT\n", argv[0]), 2;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int fd = listen_on(atoi(argv[1]));
    if (pthread_create(&t, NULL, acceptor, (void*)(intptr_t)fd)) return perror("pthread_create"), 1;

    sigwait(&set, &sig);
    pthread_cancel(t);
    pthread_join(t, &result);
    if (result != PTHREAD_CANCELED) return fprintf(stderr, "acceptor ended by itself\n"), 1;
    pthread_mutex_lock(&totals_lock);
    printf("accepted %lu connections, served %lu requests, %lu bytes\n", accepted, requests, bytes);
    pthread_mutex_unlock(&totals_lock);
    return 0;
}
