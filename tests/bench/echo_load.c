// Closed-loop load for the servers here: one 64-byte line in flight per active connection, every
// reply compared with what was sent.  One thread, epoll.
//
// usage: echo_load PORT CONNECTIONS SECONDS [--active K] [--sync]
//
// The clock starts only after every connection has had a verified reply: a server that leaves
// part of its clients waiting would otherwise look fast.  It stops after the last reply of the
// last request, so that requests and server CPU cover the same work.  For the same reason the
// result is refused when the connections' shares of the work differ too much.
//
// With --sync the caller meters the server in between: "ready" is printed and a line awaited,
// then the timed part, "done" and again a line awaited, then one more verified reply on every
// connection (the idle ones must have survived), then the report.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    kMessage = 64,
    kSetupBatch = 256,  // first requests in flight while connecting: below any backlog
    kSetupSeconds = 90,
    kDrainSeconds = 20,
    kLeastMedianShare = 8,  // below it, shares of whole requests say nothing about fairness
    kSubBuckets = 32,       // per power of two: percentiles are exact to about 3 %
};

struct connection {
    int fd;
    uint32_t sequence;
    uint32_t replies;   // in the timed part
    uint32_t received;  // bytes of the current reply
    uint64_t sent_at;
    char message[kMessage];
};

static struct connection* connections;
static int epoll_fd;
static uint64_t histogram[64 * kSubBuckets];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char* why, int index) {
    printf("failed: %s (connection %d%s%s)\n", why, index, errno ? ", " : "",
           errno ? strerror(errno) : "");
    exit(1);
}

// A message names its connection and sequence number, so a reply to anyone else's is noticed.
static void write_hex(char* to, uint32_t value) {
    for (int i = 7; i >= 0; i--, value >>= 4) to[i] = "0123456789abcdef"[value & 15];
}

static void send_next(int index) {
    struct connection* c = &connections[index];
    write_hex(c->message, (uint32_t)index);
    write_hex(c->message + 9, ++c->sequence);
    c->received = 0;
    c->sent_at = now();
    errno = 0;
    // 64 bytes into an empty socket buffer: a short write means that something else is wrong.
    if (send(c->fd, c->message, kMessage, MSG_NOSIGNAL) != kMessage) fail("short send", index);
}

// Returns 1 when the whole reply is there and equals the request.
static int receive(int index) {
    struct connection* c = &connections[index];
    char buffer[kMessage + 1];
    errno = 0;
    ssize_t got = recv(c->fd, buffer, sizeof buffer - c->received, 0);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got == 0) fail("closed by the server", index);
    if (got < 0) fail("receive", index);
    if (c->received + (size_t)got > kMessage) fail("more bytes than were sent", index);
    if (memcmp(c->message + c->received, buffer, (size_t)got) != 0) fail("wrong reply", index);
    c->received += (uint32_t)got;
    return c->received == kMessage;
}

static void open_connection(int index, uint16_t port) {
    struct connection* c = &connections[index];
    memset(c->message, '.', kMessage);
    c->message[kMessage - 1] = '\n';
    // Connecting before it becomes non-blocking: on loopback this only waits for backlog space.
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    errno = 0;
    if (c->fd < 0 || connect(c->fd, (struct sockaddr*)&address, sizeof address) != 0)
        fail("connect", index);
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) fail("epoll_ctl", index);
}

// One verified reply on each connection; opens them on the way when port is not 0.
static void round_trip_all(int count, uint16_t port, const char* phase) {
    uint64_t deadline = now() + (uint64_t)kSetupSeconds * 1000000000u;
    int started = 0, finished = 0;
    struct epoll_event events[256];
    while (finished < count) {
        while (started < count && started - finished < kSetupBatch) {
            if (port) open_connection(started, port);
            send_next(started++);
        }
        int ready = epoll_wait(epoll_fd, events, 256, 200);
        for (int i = 0; i < ready; i++) finished += receive((int)events[i].data.u32);
        if (now() > deadline) {
            printf("failed: %s: only %d of %d connections had a reply within %d s\n", phase,
                   finished, count, kSetupSeconds);
            exit(1);
        }
    }
}

static void record(uint64_t ns) {
    int power = 63 - __builtin_clzll(ns | 1);
    int sub = power < 5 ? 0 : (int)((ns >> (power - 5)) & (kSubBuckets - 1));
    histogram[power * kSubBuckets + sub]++;
}

static double percentile_us(uint64_t total, double share) {
    uint64_t want = (uint64_t)((double)total * share), seen = 0;
    for (int i = 0; i < 64 * kSubBuckets; i++)
        if ((seen += histogram[i]) > want) {
            int power = i / kSubBuckets, sub = i % kSubBuckets;
            return (power < 5 ? (double)(1 << power)
                              : (double)((32ull + (unsigned)sub) << (power - 5))) /
                   1000;
        }
    return 0;
}

static void rendezvous(const char* word) {
    char line[64];
    puts(word);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) exit(1);
}

static int by_value(const void* a, const void* b) {
    uint32_t x = *(const uint32_t*)a, y = *(const uint32_t*)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char** argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s PORT CONNECTIONS SECONDS [--active K] [--sync]\n", argv[0]);
        return 2;
    }
    uint16_t port = (uint16_t)atoi(argv[1]);
    int count = atoi(argv[2]), active = count, sync = 0;
    double seconds = atof(argv[3]);
    for (int i = 4; i < argc; i++) {
        if (!strcmp(argv[i], "--sync"))
            sync = 1;
        else if (!strcmp(argv[i], "--active") && i + 1 < argc)
            active = atoi(argv[++i]);
    }
    if (count < 1 || active < 1 || active > count) return 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < (rlim_t)count + 16) {
        printf("failed: %d connections need more than RLIMIT_NOFILE %lu\n", count,
               (unsigned long)limit.rlim_cur);
        return 1;
    }
    connections = calloc((size_t)count, sizeof *connections);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    uint32_t* shares = malloc((size_t)active * sizeof *shares);
    if (!connections || !shares || epoll_fd < 0) return 1;

    round_trip_all(count, port, "before the timed part");
    if (sync) rendezvous("ready");

    // The active ones are spread over all, so that they are not just the first threads made.
    uint64_t start = now(), stop = start + (uint64_t)(seconds * 1e9);
    uint64_t requests = 0, last_reply = start;
    int stride = count / active, in_flight = active;
    for (int i = 0; i < active; i++) send_next(i * stride);
    struct epoll_event events[512];
    while (in_flight > 0) {
        int ready = epoll_wait(epoll_fd, events, 512, 200);
        for (int i = 0; i < ready; i++) {
            int index = (int)events[i].data.u32;
            if (!receive(index)) continue;
            last_reply = now();
            record(last_reply - connections[index].sent_at);
            connections[index].replies++;
            requests++;
            if (last_reply < stop)
                send_next(index);
            else
                in_flight--;
        }
        if (now() > stop + (uint64_t)kDrainSeconds * 1000000000u) {
            printf("failed: %d requests unanswered %d s after the end\n", in_flight, kDrainSeconds);
            return 1;
        }
    }
    if (sync) rendezvous("done");
    round_trip_all(count, 0, "after the timed part");

    // Reset instead of close: no TIME_WAIT sockets that expire in the middle of a later run and
    // shift its memory figures.
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    for (int i = 0; i < count; i++)
        setsockopt(connections[i].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);

    for (int i = 0; i < active; i++) shares[i] = connections[i * stride].replies;
    qsort(shares, (size_t)active, sizeof *shares, by_value);
    double median = shares[active / 2];
    printf(
        "accepted=%d active=%d requests=%lu bytes=%lu seconds=%.3f req_s=%.0f "
        "share_min=%u share_median=%.0f share_max=%u p50_us=%.1f p99_us=%.1f\n",
        count, active, (unsigned long)requests, (unsigned long)requests * kMessage,
        (double)(last_reply - start) / 1e9, (double)requests / ((double)(last_reply - start) / 1e9),
        shares[0], median, shares[active - 1], percentile_us(requests, 0.5),
        percentile_us(requests, 0.99));
    if (median < kLeastMedianShare) {
        printf("refused: median share %.0f is below %d requests: run longer\n", median,
               kLeastMedianShare);
        return 1;
    }
    if (shares[0] < 0.5 * median || shares[active - 1] > 2 * median) {
        printf("refused: shares %u..%u lie outside 0.5..2 times the median %.0f\n", shares[0],
               shares[active - 1], median);
        return 1;
    }
    return 0;
}
