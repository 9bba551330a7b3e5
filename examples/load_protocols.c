// Shows:  how each sample's replies are verified: all are known before they arrive.
// Run:    part of the load generator, see load.c.
// Expect: a wrong, missing or surplus reply is reported with what was expected.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "load.h"

char load_reason[300];

static uint32_t mix(uint64_t a, uint64_t b) {
    uint64_t h = (a + 1) * 0x9e3779b97f4a7c15u ^ (b + 1) * 0xc2b2ae3d27d4eb4fu;
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9u;
    return h >> 32;
}

static long wrong(const char* want, size_t want_len, const char* got, size_t len) {
    int w = want_len > 80 ? 80 : (int)want_len, g = len > 80 ? 80 : (int)len;
    snprintf(load_reason, sizeof load_reason, "expected \"%.*s\", got \"%.*s\"", w, want, g, got);
    // The reason is one line, whatever the bytes were.
    for (char* p = load_reason; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127) *p = '~';
    return -1;
}

// Most protocols: the reply is exactly `want`, byte for byte.
static long reply_exact(struct conn* c, const char* buf, size_t len, bool* done) {
    size_t n = len < c->want_len ? len : c->want_len;
    if (!c->waiting) return wrong("nothing", 7, buf, len);
    if (memcmp(buf, c->want, n)) return wrong(c->want, c->want_len, buf, len);
    if (n < c->want_len) return 0;
    *done = true;
    return n;
}

// --- echo: 64 bytes there and back ---

static size_t echo_request(struct conn* c, char* buf, size_t cap) {
    (void)cap;
    c->want_len = 64;
    int n = snprintf(c->want, 64, "%d %llu ", c->id, (unsigned long long)c->seq);
    memset(c->want + n, 'a' + c->seq % 26, 64 - n);
    memcpy(buf, c->want, 64);
    return 64;
}

// --- chat: rooms of up to ROOM connections that talk in rounds ---
// A request is answered when its own line and those of all other talkers of the room have come
// back. Without rounds each member goes at its own pace, and natively the paces differ by more
// than 2.

// Connections are dealt out evenly: a smaller room has less work and would get more than its share.
static int rooms, talkers;

static bool chat_prepare(const char* root, int connections, int active) {
    (void)root;
    rooms = (connections + ROOM - 1) / ROOM;
    talkers = active;
    return true;
}

static size_t chat_request(struct conn* c, char* buf, size_t cap) {
    int room = c->id % rooms;
    if (c->seq == 0) {
        c->want_len = snprintf(c->want, MAX_WANT, "JOINED r%d ", room);
        return snprintf(buf, cap, "JOIN r%d u%d\n", room, c->id);
    }
    unsigned long long seq = c->seq;
    c->want_len = snprintf(c->want, MAX_WANT, "u%d: %llu %08x\n", c->id, seq, mix(c->id, seq));
    return snprintf(buf, cap, "SAY %llu %08x\n", seq, mix(c->id, seq));
}

// c->seq has moved on by one since the request was made; before the first SAY there is no round.
static bool round_over(const struct conn* c) {
    if (!c->own_heard) return false;
    for (int id = c->id % rooms; id < talkers && c->seq > 1; id += rooms)
        if (id != c->id && c->heard[id / rooms] + 1 < c->seq) return false;
    return true;
}

static long chat_reply(struct conn* c, const char* buf, size_t len, bool* done) {
    const char* nl = memchr(buf, '\n', len);
    if (!nl) return 0;
    size_t n = nl + 1 - buf;
    if (c->waiting && !c->own_heard && n >= c->want_len && !memcmp(buf, c->want, c->want_len)) {
        c->own_heard = true;
    } else {
        // A line of somebody else: from this room, intact, and the one after their last. Copied,
        // because sscanf measures its whole input first.
        char line[96];
        int id;
        unsigned long long seq;
        unsigned check;
        snprintf(line, sizeof line, "%.*s", (int)(n < 90 ? n : 90), buf);
        if (sscanf(line, "u%d: %llu %x\n", &id, &seq, &check) != 3 || id < 0 || id >= talkers ||
            id % rooms != c->id % rooms || id == c->id || check != mix(id, seq))
            return wrong(c->want, c->want_len, buf, n);
        uint64_t* last = &c->heard[id / rooms];
        if (seq != *last + 1) return wrong("the line after the last one", 27, buf, n);
        *last = seq;
    }
    *done = c->waiting && round_over(c);
    return n;
}

// --- http: the files of --root, whole; every 32nd request asks for a missing one ---

struct file {
    char name[64];
    const char* data;
    size_t size;
};
static struct file files[64];
static int file_count;

static bool http_prepare(const char* root, int connections, int active) {
    (void)connections, (void)active;
    DIR* d = root ? opendir(root) : NULL;
    snprintf(load_reason, sizeof load_reason,
             "http needs --root DIR with the files that are served");
    if (!d) return false;
    for (struct dirent* e; (e = readdir(d)) && file_count < 64;) {
        struct file* f = &files[file_count];
        struct stat st;
        int fd = openat(dirfd(d), e->d_name, O_RDONLY);
        if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0) {
            snprintf(f->name, sizeof f->name, "%.63s", e->d_name);
            f->size = st.st_size;
            f->data = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
            if (f->data != MAP_FAILED) file_count++;
        }
        if (fd >= 0) close(fd);
    }
    closedir(d);
    return file_count > 0;
}

static size_t http_request(struct conn* c, char* buf, size_t cap) {
    const char* name = "missing";
    c->file = NULL;
    c->body_left = 0;
    if ((c->seq + c->id) % 32 != 31) {
        c->file = &files[mix(c->id, c->seq) % file_count];
        name = c->file->name;
    }
    c->want_len =
        snprintf(c->want, MAX_WANT, "HTTP/1.1 %s\r\n", c->file ? "200 OK" : "404 Not Found");
    return snprintf(buf, cap, "GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n", name);
}

static long http_reply(struct conn* c, const char* buf, size_t len, bool* done) {
    if (!c->waiting) return wrong("nothing", 7, buf, len);
    if (c->body_left) {
        size_t n = len < c->body_left ? len : c->body_left;
        if (c->file && memcmp(buf, c->file->data + c->file->size - c->body_left, n))
            return wrong("the file's bytes", 16, buf, n);
        c->body_left -= n;
        *done = !c->body_left;
        return n;
    }
    const char* end = memmem(buf, len, "\r\n\r\n", 4);
    if (!end) return 0;
    const char* length = memmem(buf, end - buf, "Content-Length: ", 16);
    if (memcmp(buf, c->want, c->want_len) || !length) return wrong(c->want, c->want_len, buf, len);
    c->body_left = strtoul(length + 16, NULL, 10);
    if (!c->body_left || (c->file && c->body_left != c->file->size))
        return wrong("the file's size", 15, length, end - length);
    return end + 4 - buf;
}

// --- kv: each connection knows what its own keys hold ---

static size_t kv_request(struct conn* c, char* buf, size_t cap) {
    uint32_t r = mix(c->id, c->seq), k = r % KEYS, *v = &c->version[k];
    unsigned op = r / KEYS % 32;
    if (*v == 0 || op < 4) {  // A key that an earlier run may have set is set before it is read.
        *v = (uint32_t)c->seq + 2;
        c->want_len = snprintf(c->want, MAX_WANT, "OK\n");
        return snprintf(buf, cap, "SET c%d.k%u value-%u-%08x\n", c->id, k, *v, mix(k, *v));
    }
    if (op == 4) {
        c->want_len = snprintf(c->want, MAX_WANT, *v == 1 ? "NONE\n" : "OK\n");
        *v = 1;
        return snprintf(buf, cap, "DEL c%d.k%u\n", c->id, k);
    }
    c->want_len = *v == 1 ? snprintf(c->want, MAX_WANT, "NONE\n")
                          : snprintf(c->want, MAX_WANT, "VALUE value-%u-%08x\n", *v, mix(k, *v));
    return snprintf(buf, cap, "GET c%d.k%u\n", c->id, k);
}

// --- cpu: primes, compared with a sieve ---

enum { SIEVE = 1020000, PRIMES_FROM = 1000000, PRIMES_COUNT = 500 };
static uint32_t primes_below[SIEVE + 1];

static bool cpu_prepare(const char* root, int connections, int active) {
    (void)root, (void)connections, (void)active;
    char* composite = calloc(1, SIEVE);
    if (!composite) return false;
    for (unsigned i = 2; i < SIEVE; i++) {
        primes_below[i + 1] = primes_below[i] + !composite[i];
        if (!composite[i])
            for (unsigned j = 2 * i; j < SIEVE; j += i) composite[j] = 1;
    }
    free(composite);
    return true;
}

static size_t cpu_request(struct conn* c, char* buf, size_t cap) {
    unsigned from = PRIMES_FROM + mix(c->id, c->seq) % (SIEVE - PRIMES_FROM - PRIMES_COUNT);
    c->want_len = snprintf(c->want, MAX_WANT, "%u %u %u\n", from, PRIMES_COUNT,
                           primes_below[from + PRIMES_COUNT] - primes_below[from]);
    return snprintf(buf, cap, "PRIMES %u %u\n", from, PRIMES_COUNT);
}

// --- job: sums, short sleeps, and now and then a job that has to be cancelled ---

enum { MAX_SUM = 20000 };
static uint64_t sums[MAX_SUM + 1];

static bool job_prepare(const char* root, int connections, int active) {
    (void)root, (void)connections, (void)active;
    for (uint64_t i = 1; i <= MAX_SUM; i++) sums[i] = sums[i - 1] + i * i % 7919;
    return true;
}

static size_t job_request(struct conn* c, char* buf, size_t cap) {
    unsigned phase = (c->seq + c->id * 37) % 128;
    char tag[32];
    snprintf(tag, sizeof tag, "%d.%llu", c->id, (unsigned long long)c->seq);
    // One in 128: rare enough that the 99th percentile tells of the server, not of the deadline.
    if (phase == 0) {
        c->want_len = snprintf(c->want, MAX_WANT, "TIMEOUT %s\n", tag);
        return snprintf(buf, cap, "RUN %s sleep 60000 100\n", tag);
    }
    if (phase % 8 == 3) {
        c->want_len = snprintf(c->want, MAX_WANT, "DONE %s 1\n", tag);
        return snprintf(buf, cap, "RUN %s sleep 1 10000\n", tag);
    }
    unsigned n = 1000 + mix(c->id, c->seq) % (MAX_SUM - 1000);
    c->want_len = snprintf(c->want, MAX_WANT, "DONE %s %llu\n", tag, (unsigned long long)sums[n]);
    return snprintf(buf, cap, "RUN %s sum %u 10000\n", tag, n);
}

const struct protocol protocols[] = {
    {"echo", echo_request, reply_exact, NULL},
    {"chat", chat_request, chat_reply, chat_prepare},
    {"http", http_request, http_reply, http_prepare},
    {"kv", kv_request, reply_exact, NULL},
    {"cpu", cpu_request, reply_exact, cpu_prepare},
    {"job", job_request, reply_exact, job_prepare},
    {NULL, NULL, NULL, NULL},
};
