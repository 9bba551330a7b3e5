// A listening socket shared by forked children, each with two accepting threads, the parent
// accepting too: every connection is served exactly once, whoever gets it, and the socket stays
// blocking for all.
// limit: 20
#include "../../support/twin.h"
#include <atomic>

static int listener;
static const int children = 3, connections = 200;

static void* accept_loop(void*) {
    int served = 0;
    while (true) {
        int c = accept(listener, nullptr, nullptr);
        CHECK(c >= 0);  // EAGAIN would be a shared O_NONBLOCK
        char b[8];
        CHECK(take(c, b, 8) == 8);
        bool last = memcmp(b, "the end.", 8) == 0;
        put(c, b, 8);
        close(c);
        if (last) return (void*)(intptr_t)served;
        served++;
    }
}
static int serve_with_threads() {
    pthread_t a = start(accept_loop, nullptr), b = start(accept_loop, nullptr);
    return (int)(intptr_t)finish(a) + (int)(intptr_t)finish(b);
}
static void call(const char* text) {
    int c = tcp_connect(port_of(listener));
    char b[9];
    put(c, text, 8);
    CHECK(take(c, b, 9) == 8 && memcmp(b, text, 8) == 0);
    close(c);
}
static void* client(void* arg) {
    char text[9];
    for (int i = 0; i < connections / 4; i++) {
        snprintf(text, sizeof text, "%03d %04d", (int)(intptr_t)arg, i);
        call(text);
    }
    return nullptr;
}

int main() {
    listener = tcp_listen(128);
    int report[2];
    CHECK(pipe(report) == 0);
    pid_t pid[children];
    for (pid_t& p : pid) {
        CHECK((p = fork()) >= 0);
        if (p == 0) {
            int served = serve_with_threads();
            put(report[1], &served, sizeof served);
            _exit(0);
        }
    }
    pthread_t here[2] = {start(accept_loop, nullptr), start(accept_loop, nullptr)}, t[4];
    for (int i = 0; i < 4; i++) t[i] = start(client, (void*)(intptr_t)i);
    for (pthread_t one : t) finish(one);
    for (int i = 0; i < 2 * (children + 1); i++) call("the end.");
    int total = 0;
    for (pthread_t one : here) total += (int)(intptr_t)finish(one);
    for (pid_t p : pid) {
        int served;
        CHECK(take(report[0], &served, sizeof served) == sizeof served);
        total += served;
        CHECK(exited_with(reap(p), 0));
    }
    CHECK((fcntl(listener, F_GETFL) & O_NONBLOCK) == 0);
    printf("%d connections served\n", total);
    return total != connections;
}
