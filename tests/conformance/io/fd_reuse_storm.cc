// Threads open and close sockets and pipes as fast as they can while others wait on theirs:
// numbers are reused all the time, and nobody ever sees bytes, wake-ups or ends of another's
// descriptor.
// limit: 20
// expect: fibers>=16 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static std::atomic<int> stop;
static std::atomic<long> exchanged;

static void* churn(void* arg) {
    unsigned id = (unsigned)(intptr_t)arg;
    for (int i = 0; !stop; i++) {
        int fds[2] = {-1, -1};
        switch ((i + (int)id) % 3) {
            case 0:
                unix_pair(fds);
                break;
            case 1:
                CHECK(pipe(fds) == 0);
                break;
            case 2:
                tcp_pair(fds);
                break;
        }
        if ((i + (int)id) % 3 == 1) {
            int t = fds[0];
            fds[0] = fds[1];
            fds[1] = t;
        }
        uint64_t word = (uint64_t)id << 32 | (unsigned)i, back = 0;
        put(fds[0], &word, sizeof word);
        CHECK(take(fds[1], &back, sizeof back) == sizeof back && back == word);
        // A number that is polled, then closed with nothing there, then somebody else's.
        pollfd p = {fds[1], POLLIN, 0};
        CHECK(poll(&p, 1, i % 8 == 0 ? 1 : 0) == 0);
        CHECK(close(fds[0]) == 0);
        CHECK(read(fds[1], &back, 1) == 0);
        CHECK(close(fds[1]) == 0);
        exchanged++;
    }
    return nullptr;
}

static std::atomic<int> quiet;
static void* waits(void* arg) {
    int fd = (int)(intptr_t)arg;
    char b[16];
    ssize_t n = read(fd, b, sizeof b);
    CHECK(n == 5 && memcmp(b, "there", 5) == 0);
    quiet++;
    n = read(fd, b, sizeof b);
    CHECK(n == 0);
    close(fd);
    return nullptr;
}

int main() {
    int fds[8][2];
    pthread_t t[8], w[8];
    for (int i = 0; i < 8; i++) {
        tcp_pair(fds[i]);
        w[i] = start(waits, (void*)(intptr_t)fds[i][0]);
    }
    for (int i = 0; i < 8; i++) t[i] = start(churn, (void*)(intptr_t)(i + 1));
    nap(700);
    CHECK(quiet == 0);
    for (auto& pair : fds) put(pair[1], "there", 5);
    while (quiet < 8) nap(1);
    nap(100);
    for (auto& pair : fds) close(pair[1]);
    for (pthread_t one : w) finish(one);
    stop = 1;
    for (pthread_t one : t) finish(one);
    CHECK(exchanged > 100);
    printf("%d waiters undisturbed\n", (int)quiet);
    return 0;
}
