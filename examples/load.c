// Shows:  what a server does under N connections that each wait for a reply before sending again.
// Run:    load echo|chat|http|kv|cpu|job PORT [-c N] [--active K] ...      (load --help)
// Expect: counts, rate, latency, shares; status 0 only if all was right and fairly shared.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "load.h"

enum { OPENING = 64, SUB = 64, REPLY_LIMIT_S = 10, CONNECT_LIMIT_S = 60 };

static struct {
    int port, connections, active, pid;
    double seconds;
    uint64_t max_requests, slack;
    const char* root;
    const struct protocol* proto;
} opt = {.connections = 100, .seconds = 5, .max_requests = 50000000, .slack = 8};

static struct conn* conns;
static int epfd, open_count, verified_count, waiting_count;
static bool stopping;
static uint64_t issued, counted, errors, bytes_in, start_ns, end_ns;
// Latency in µs by power of two and 1/64 of it: 1.6 % wide, whatever the size.
static uint64_t histogram[40 * SUB];

static uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void fail(struct conn* c, const char* fmt, ...) {
    va_list ap;
    if (++errors <= 5) {
        if (c)
            fprintf(stderr, "load: connection %d, request %llu: ", c->id,
                    (unsigned long long)c->seq);
        va_start(ap, fmt);
        vfprintf(stderr, fmt, ap);
        va_end(ap);
        fputc('\n', stderr);
    }
    if (c && c->open) {
        close(c->fd);
        c->open = false;
        open_count--;
        if (c->waiting) waiting_count--;
        c->waiting = false;
    }
}

static void record(uint64_t ns) {
    uint64_t us = ns / 1000;
    int shift = us < 2 * SUB ? 0 : 63 - __builtin_clzll(us) - 6;
    uint64_t i = shift ? (uint64_t)shift * SUB + (us >> shift) : us;
    histogram[i < 40 * SUB ? i : 40 * SUB - 1]++;
}

static uint64_t percentile(double p) {
    uint64_t seen = 0, need = (uint64_t)(counted * p);
    for (uint64_t i = 0; i < 40 * SUB; i++)
        if ((seen += histogram[i]) > need) {
            uint64_t shift = i < 2 * SUB ? 0 : i / SUB - 1;
            return shift ? (i - shift * SUB) << shift : i;
        }
    return 0;
}

static void send_request(struct conn* c) {
    char buf[512];
    size_t n = opt.proto->request(c, buf, sizeof buf);
    c->seq++;
    issued++;
    c->waiting = true;
    c->own_heard = false;
    waiting_count++;
    c->sent_at = now_ns();
    // A closed loop never has more than one request under way, so the socket has room for it.
    ssize_t w = send(c->fd, buf, n, MSG_NOSIGNAL);
    if (w != (ssize_t)n) fail(c, "send: %s", w < 0 ? strerror(errno) : "short write");
}

static void connect_one(struct conn* c) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // Blocking for the connect, which on this host is a matter of the backlog only.
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr*)&sa, sizeof sa)) {
        fail(c, "connect: %s", strerror(errno));
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev);
    c->open = true;
    open_count++;
    send_request(c);
}

static void answered(struct conn* c, uint64_t now) {
    c->waiting = false;
    waiting_count--;
    if (!c->verified) {
        c->verified = true;
        verified_count++;
        return;
    }
    if (now <= end_ns) {
        c->counted++;
        counted++;
        record(now - c->sent_at);
    }
    if (now < end_ns && counted + waiting_count < opt.max_requests)
        send_request(c);
    else
        stopping = true;
}

static void readable(struct conn* c) {
    static char buf[MAX_LEFT + 65536];
    memcpy(buf, c->left, c->left_len);
    ssize_t n = recv(c->fd, buf + c->left_len, 65536, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        fail(c, "%s", n ? strerror(errno) : "closed by the server");
        return;
    }
    uint64_t now = now_ns();
    size_t have = c->left_len + n, off = 0;
    bytes_in += n;
    while (off < have) {
        bool done = false;
        long used = opt.proto->reply(c, buf + off, have - off, &done);
        if (used < 0) {
            fail(c, "%s", load_reason);
            return;
        }
        if (!used) break;
        off += used;
        if (done) answered(c, now);
        if (!c->open) return;
    }
    c->left_len = have - off;
    if (c->left_len > MAX_LEFT)
        fail(c, "a reply without end");
    else
        memcpy(c->left, buf + off, c->left_len);
}

// One round of epoll; the caller's loop looks at the clock in between.
static void pump(int ms) {
    struct epoll_event ev[256];
    int n = epoll_wait(epfd, ev, 256, ms);
    for (int i = 0; i < n; i++) {
        struct conn* c = ev[i].data.ptr;
        if (c->open) readable(c);
    }
}

static void check_overdue(void) {
    uint64_t now = now_ns();
    for (int i = 0; i < opt.connections; i++)
        if (conns[i].waiting && now - conns[i].sent_at > REPLY_LIMIT_S * 1000000000ull)
            fail(&conns[i], "no reply for %d s", REPLY_LIMIT_S);
}

// What the kernel knows of the server: CPU time in µs, threads, resident KiB.
static struct server { long cpu_us, threads, rss_kb; } server_peak;

static struct server look_at_server(void) {
    struct server s = {0, 0, 0};
    char path[64], buf[1024], *p;
    unsigned long user = 0, sys = 0;
    long rss = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", opt.pid);
    FILE* f = opt.pid ? fopen(path, "r") : NULL;
    if (!f) return s;
    // The name in parentheses may hold anything; fields are counted from behind it.
    if (fgets(buf, sizeof buf, f) && (p = strrchr(buf, ')')))
        sscanf(p + 2,
               "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %ld %*d %*u "
               "%*u %ld",
               &user, &sys, &s.threads, &rss);
    fclose(f);
    s.cpu_us = (long)((user + sys) * 1000000 / sysconf(_SC_CLK_TCK));
    s.rss_kb = rss * (sysconf(_SC_PAGESIZE) / 1024);
    if (s.threads > server_peak.threads) server_peak.threads = s.threads;
    if (s.rss_kb > server_peak.rss_kb) server_peak.rss_kb = s.rss_kb;
    return s;
}

static bool connect_all(void) {
    uint64_t limit = now_ns() + CONNECT_LIMIT_S * 1000000000ull;
    int opened = 0;
    while (verified_count < opt.connections && !errors) {
        while (opened < opt.connections && opened - verified_count < OPENING && !errors)
            connect_one(&conns[opened++]);
        pump(100);
        check_overdue();
        if (now_ns() > limit) fail(NULL, "only %d connections got a reply", verified_count);
    }
    return !errors;
}

static void measure(long* cpu_us) {
    long before = look_at_server().cpu_us;
    start_ns = now_ns();
    end_ns = start_ns + (uint64_t)(opt.seconds * 1e9);
    for (int i = 0; i < opt.active; i++)
        if (conns[i].open) send_request(&conns[i]);
    uint64_t next_look = start_ns;
    for (uint64_t now; (now = now_ns()) < end_ns && !stopping && !errors;) {
        if (now >= next_look) {
            look_at_server();
            check_overdue();
            next_look = now + 50000000;
        }
        pump(10);
    }
    *cpu_us = look_at_server().cpu_us - before;
    if (now_ns() < end_ns) end_ns = now_ns();
    // What is under way is still awaited and verified, but no longer counted.
    while (waiting_count) {
        pump(100);
        check_overdue();
        // A round of chat stays open when others have stopped talking: one's own line is enough.
        for (int i = 0; i < opt.active; i++)
            if (conns[i].waiting && conns[i].own_heard) answered(&conns[i], now_ns());
    }
}

static int by_value(const void* a, const void* b) {
    uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
    return (x > y) - (x < y);
}

static void check_shares(void) {
    uint64_t* share = calloc(opt.active, sizeof *share);
    for (int i = 0; i < opt.active; i++) share[i] = conns[i].counted;
    qsort(share, opt.active, sizeof *share, by_value);
    uint64_t min = share[0], median = share[opt.active / 2], max = share[opt.active - 1];
    printf("share_min %llu\nshare_median %llu\nshare_max %llu\n", (unsigned long long)min,
           (unsigned long long)median, (unsigned long long)max);
    if (!errors && (min + opt.slack < median / 2 || max > median * 2 + opt.slack))
        fail(NULL, "unfair: a connection's share lies outside 0.5..2 x the median (%llu/%llu/%llu)",
             (unsigned long long)min, (unsigned long long)median, (unsigned long long)max);
    if (!counted && !errors) fail(NULL, "no reply inside the measured time");
    free(share);
}

static int usage(const char* name, FILE* to) {
    fprintf(to,
            "usage: %s echo|chat|http|kv|cpu|job PORT\n"
            "  -c N          connections (100)\n"
            "  --active K    only K of them send after their first request (all)\n"
            "  --seconds S   measured time (5)\n"
            "  --requests N  stop after N measured replies\n"
            "  --pid P       report CPU time, threads and memory of this server process\n"
            "  --root DIR    http: the directory that the server serves\n"
            "  --slack N     requests that a share may lie outside 0.5..2 x the median (8)\n",
            name);
    return to == stdout ? 0 : 2;
}

static int parse(int argc, char** argv) {
    static const struct option longs[] = {
        {"active", 1, 0, 'a'}, {"seconds", 1, 0, 's'}, {"requests", 1, 0, 'r'}, {"pid", 1, 0, 'p'},
        {"root", 1, 0, 'd'},   {"slack", 1, 0, 'l'},   {"help", 0, 0, 'h'},     {0, 0, 0, 0}};
    for (int o; (o = getopt_long(argc, argv, "c:", longs, NULL)) != -1;) {
        if (o == 'c')
            opt.connections = atoi(optarg);
        else if (o == 'a')
            opt.active = atoi(optarg);
        else if (o == 's')
            opt.seconds = atof(optarg);
        else if (o == 'r')
            opt.max_requests = strtoull(optarg, NULL, 10);
        else if (o == 'p')
            opt.pid = atoi(optarg);
        else if (o == 'd')
            opt.root = optarg;
        else if (o == 'l')
            opt.slack = strtoull(optarg, NULL, 10);
        else
            return usage(argv[0], o == 'h' ? stdout : stderr);
    }
    if (optind + 2 != argc || opt.connections < 1 || opt.seconds <= 0 || opt.seconds > 3600 ||
        opt.active < 0 || opt.active > opt.connections || opt.max_requests < 1)
        return usage(argv[0], stderr);
    for (opt.proto = protocols; opt.proto->name && strcmp(opt.proto->name, argv[optind]);)
        opt.proto++;
    opt.port = atoi(argv[optind + 1]);
    if (!opt.proto->name || opt.port < 1 || opt.port > 65535) return usage(argv[0], stderr);
    if (!opt.active) opt.active = opt.connections;
    return -1;
}

int main(int argc, char** argv) {
    long cpu_us = 0;
    int status = parse(argc, argv);
    if (status >= 0) return status;
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    // The last resort, should the server stop in the middle of what has no limit of its own.
    alarm(CONNECT_LIMIT_S + (unsigned)opt.seconds + 2 * REPLY_LIMIT_S + 5);
    if (opt.proto->prepare && !opt.proto->prepare(opt.root, opt.connections, opt.active))
        return fprintf(stderr, "load: %s\n", load_reason), 2;
    conns = calloc(opt.connections, sizeof *conns);
    for (int i = 0; i < opt.connections; i++) conns[i].id = i;
    epfd = epoll_create1(EPOLL_CLOEXEC);

    if (connect_all()) measure(&cpu_us);
    double took = (end_ns - start_ns) / 1e9;
    printf("connections %d\nactive %d\nrequests %llu\nseconds %.2f\nrequests_per_s %.0f\n",
           verified_count, opt.active, (unsigned long long)counted, took,
           took > 0 ? counted / took : 0);
    printf("p50_us %llu\np99_us %llu\n", (unsigned long long)percentile(.5),
           (unsigned long long)percentile(.99));
    check_shares();
    if (opt.pid)
        printf("server_threads %ld\nserver_rss_kb %ld\nserver_cpu_us_per_request %.2f\n",
               server_peak.threads, server_peak.rss_kb, counted ? (double)cpu_us / counted : 0);
    // Warm-up and what came after the end included: the server's own totals must agree with these.
    printf("all_requests %llu\nall_bytes %llu\nerrors %llu\n", (unsigned long long)issued,
           (unsigned long long)bytes_in, (unsigned long long)errors);
    return errors ? 1 : 0;
}
