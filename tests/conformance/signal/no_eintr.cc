// Timed sleeps, polls, selects and receives beside a thread that computes all the time: none ends
// with EINTR, none early.  STRESS_CALLS is how many each thread makes; `make soak` makes many more.
// expect: native_fallbacks=0
// limit: 600
#include "twin.h"

#include <sys/select.h>

#include <atomic>

namespace {

constexpr int kThreads = 200;
long calls = 500;
std::atomic<bool> stop{false};
std::atomic<long> made{0}, interrupted{0}, early{0};

int64_t now_ns() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// What a call that waits `ns` returned.
void judge(int64_t start, int64_t ns, bool is_right) {
    made++;
    if (is_right) {
        if (now_ns() - start < ns) early++;
    } else {
        CHECK_EQ(errno, EINTR);
        interrupted++;
    }
}

void* wait_often(void* argument) {
    const long number = reinterpret_cast<long>(argument);
    int pair[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    const timeval patience = {0, 1000};
    CHECK_EQ(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    for (long i = 0; i < calls; i++) {
        const int64_t start = now_ns();
        const timespec shortly = {0, 100000 + number * 1000};
        pollfd one = {pair[0], POLLIN, 0};
        char byte;
        errno = 0;
        switch ((number + i) % 5) {
            case 0:
                judge(start, shortly.tv_nsec, nanosleep(&shortly, nullptr) == 0);
                break;
            case 1:
                judge(start, 1000000, poll(&one, 1, 1) == 0);
                break;
            case 2:
                judge(start, shortly.tv_nsec, ppoll(&one, 1, &shortly, nullptr) == 0);
                break;
            case 3: {
                fd_set set;
                FD_ZERO(&set);
                FD_SET(pair[0], &set);
                judge(start, shortly.tv_nsec,
                      pselect(pair[0] + 1, &set, nullptr, nullptr, &shortly, nullptr) == 0);
                break;
            }
            default:
                judge(start, 0, recv(pair[0], &byte, 1, 0) == -1 && errno == EAGAIN);
        }
    }
    close(pair[0]);
    close(pair[1]);
    return nullptr;
}

void* compute(void*) {
    volatile unsigned long sum = 0;
    unsigned long table[64] = {};
    while (!stop) {
        for (int i = 0; i < 1000; i++) table[i % 64] += sum + static_cast<unsigned long>(i);
        sum = sum + table[7];
    }
    return nullptr;
}

}  // namespace

int main() {
    if (const char* wish = getenv("STRESS_CALLS")) calls = atol(wish);
    pthread_t hog, threads[kThreads];
    CHECK_OK(pthread_create(&hog, nullptr, compute, nullptr));
    for (long i = 0; i < kThreads; i++)
        CHECK_OK(pthread_create(&threads[i], nullptr, wait_often, reinterpret_cast<void*>(i)));
    for (pthread_t thread : threads) CHECK_OK(pthread_join(thread, nullptr));
    stop = true;
    CHECK_OK(pthread_join(hog, nullptr));
    printf("%ld calls, %ld interrupted, %ld early\n", made.load(), interrupted.load(),
           early.load());
    return 0;
}
