// sendfile, splice, tee, vmsplice and copy_file_range: block while there is no data or no room,
// and move every byte.
// expect: fibers>=7 native_fallbacks=0
#include "../../support/twin.h"
#include <sys/sendfile.h>
#include <vector>

static const size_t size = 1 << 20;
static std::vector<unsigned char> data(size);

struct Reader {
    int fd;
    size_t good, seen;
};
static void* slow_reader(void* arg) {
    Reader* r = (Reader*)arg;
    unsigned char b[8192];
    ssize_t n;
    nap(20);
    while ((n = read(r->fd, b, sizeof b)) > 0) {
        for (ssize_t i = 0; i < n; i++) r->good += b[i] == data[r->seen++ % size];
    }
    CHECK(n == 0);
    return nullptr;
}
static void* slow_writer(void* arg) {
    int fd = (int)(intptr_t)arg;
    for (size_t at = 0; at < size; at += 1 << 16) {
        put(fd, data.data() + at, 1 << 16);
        if (at % (1 << 18) == 0) nap(5);
    }
    close(fd);
    return nullptr;
}

static void report(const char* name, int out, pthread_t t, Reader& r) {
    close(out);
    finish(t);
    printf("%s: %zu bytes, %zu right\n", name, r.seen, r.good);
    CHECK(r.seen == size && r.good == size);
    close(r.fd);
}

int main() {
    for (size_t i = 0; i < size; i++) data[i] = (unsigned char)(i * 131 + (i >> 9));
    FILE* file = tmpfile();
    CHECK(file);
    int f = fileno(file);
    CHECK(write(f, data.data(), size) == (ssize_t)size);

    int s[2], p[2], q[2];
    unix_pair(s);
    Reader r = {s[0], 0, 0};
    pthread_t t = start(slow_reader, &r);
    off_t offset = 0;
    while (offset < (off_t)size) {
        ssize_t n = sendfile(s[1], f, &offset, size - (size_t)offset);
        CHECK(n > 0);
    }
    report("sendfile to socket", s[1], t, r);

    // sendfile64 to a pipe, with the file's own position.
    CHECK(lseek(f, 0, SEEK_SET) == 0 && pipe(p) == 0);
    r = {p[0], 0, 0};
    t = start(slow_reader, &r);
    ssize_t n;
    while ((n = sendfile64(p[1], f, nullptr, 1 << 18)) > 0) {
    }
    CHECK(n == 0);
    report("sendfile to pipe", p[1], t, r);

    // socket -> pipe -> socket, each end slower than the middle.
    int in[2], out[2];
    tcp_pair(in);
    tcp_pair(out);
    CHECK(pipe(p) == 0);
    pthread_t w = start(slow_writer, (void*)(intptr_t)in[0]);
    r = {out[0], 0, 0};
    t = start(slow_reader, &r);
    while ((n = splice(in[1], nullptr, p[1], nullptr, 1 << 16, SPLICE_F_MOVE)) > 0) {
        while (n > 0) {
            ssize_t m = splice(p[0], nullptr, out[1], nullptr, (size_t)n, SPLICE_F_MORE);
            CHECK(m > 0);
            n -= m;
        }
    }
    CHECK(n == 0);
    finish(w);
    close(in[1]);
    report("splice", out[1], t, r);
    CHECK(splice(p[0], nullptr, s[1], nullptr, 1, SPLICE_F_NONBLOCK) == -1);

    // tee duplicates without consuming; both waiting readers get everything.
    CHECK(pipe(q) == 0);
    int source[2];
    CHECK(pipe(source) == 0);
    w = start(slow_writer, (void*)(intptr_t)source[1]);
    r = {q[0], 0, 0};
    t = start(slow_reader, &r);
    size_t original = 0;
    std::vector<unsigned char> b(1 << 16);
    while ((n = tee(source[0], q[1], 1 << 16, 0)) > 0) {
        CHECK(take(source[0], b.data(), (size_t)n) == (size_t)n);
        CHECK(memcmp(b.data(), data.data() + original, (size_t)n) == 0);
        original += (size_t)n;
    }
    CHECK(n == 0 && original == size);
    finish(w);
    report("tee", q[1], t, r);

    CHECK(pipe(q) == 0);
    r = {q[0], 0, 0};
    t = start(slow_reader, &r);
    for (size_t at = 0; at < size;) {
        iovec v = {data.data() + at, size - at};
        n = vmsplice(q[1], &v, 1, 0);
        CHECK(n > 0);
        at += (size_t)n;
    }
    report("vmsplice", q[1], t, r);

    FILE* copy = tmpfile();
    CHECK(copy);
    loff_t from = 0, to = 0;
    while (from < (loff_t)size) {
        n = copy_file_range(f, &from, fileno(copy), &to, size - (size_t)from, 0);
        CHECK(n > 0);
    }
    std::vector<unsigned char> back(size);
    CHECK(pread(fileno(copy), back.data(), size, 0) == (ssize_t)size && back == data);
    puts("copy_file_range ok");
    return 0;
}
