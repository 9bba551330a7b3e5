// Pipe writes of at most PIPE_BUF bytes by many blocked writers never mix; larger ones may, but no
// byte is lost; pipe sizes can be changed while writers wait.
// expect: fibers>=24 native_fallbacks=0
#include "../../support/twin.h"
#include <limits.h>
#include <map>

static int fds[2];
static const int writers = 12, records = 40;

static void* atomic_writer(void* arg) {
    unsigned char b[PIPE_BUF];
    memset(b, 'a' + (int)(intptr_t)arg, sizeof b);
    for (int i = 0; i < records; i++) CHECK(write(fds[1], b, sizeof b) == (ssize_t)sizeof b);
    return nullptr;
}
static void* large_writer(void* arg) {
    static const size_t size = 100000;
    char* b = (char*)malloc(size);
    memset(b, 'a' + (int)(intptr_t)arg, size);
    CHECK(write(fds[1], b, size) == (ssize_t)size);
    free(b);
    return nullptr;
}

int main() {
    CHECK(pipe(fds) == 0);
    pthread_t t[writers];
    for (int i = 0; i < writers; i++) t[i] = start(atomic_writer, (void*)(intptr_t)i);
    nap(20);  // the pipe holds sixteen records: most writers wait
    int whole = 0;
    static char b[PIPE_BUF];
    for (int i = 0; i < writers * records; i++) {
        CHECK(take(fds[0], b, sizeof b) == sizeof b);
        whole += memcmp(b, b + 1, sizeof b - 1) == 0;
        if (i == 100) CHECK(fcntl(fds[1], F_SETPIPE_SZ, 4096) == 4096 || errno == EBUSY);
    }
    for (pthread_t one : t) finish(one);
    printf("%d of %d records whole\n", whole, writers * records);
    CHECK(fcntl(fds[1], F_SETPIPE_SZ, 65536) == 65536);
    for (int i = 0; i < writers; i++) t[i] = start(large_writer, (void*)(intptr_t)i);
    std::map<char, int> counts;
    for (int left = writers * 100000; left > 0;) {
        ssize_t n = read(fds[0], b, sizeof b);
        CHECK(n > 0);
        for (ssize_t i = 0; i < n; i++) counts[b[i]]++;
        left -= (int)n;
    }
    for (pthread_t one : t) finish(one);
    int complete = 0;
    for (auto& c : counts) complete += c.second == 100000;
    printf("%d large writes complete\n", complete);
    return whole != writers * records || complete != writers;
}
