// close() of a number on which another thread waits does not disturb that call: the peer sees no
// end of file yet, data sent later still reaches the waiting call, and the connection ends when it
// returns. The number itself is free at once and may already be something else.
#include "../../support/twin.h"

static int fds[2];
static sem_t ready;
static ssize_t got;
static char text[16];

static void* reader(void*) {
    int fd = fds[0];
    sem_post(&ready);
    got = read(fd, text, sizeof text);
    if (got == -1) CHECK(errno == EBADF);
    return nullptr;
}

// Returns false when the reader had not begun to wait before the close (its call saw EBADF).
static bool attempt(int kind, int patience) {
    if (kind == 0) tcp_pair(fds);
    if (kind == 1) unix_pair(fds);
    if (kind == 2) CHECK(pipe(fds) == 0);
    got = -2;
    pthread_t t = start(reader, nullptr);
    wait_sem(&ready);
    nap(patience);
    CHECK(close(fds[0]) == 0);
    CHECK(fcntl(fds[0], F_GETFD) == -1 && errno == EBADF);
    int other[2];
    CHECK(pipe(other) == 0 && (other[0] == fds[0] || other[1] == fds[0]));
    nap(10);
    if (kind < 2) {
        pollfd p = {fds[1], POLLIN, 0};
        int ended = poll(&p, 1, 0);
        if (ended) {
            // Only a reader that came too late may explain it.
            finish(t);
            CHECK(got == -1);
        } else {
            put(fds[1], "still here", 10);
            finish(t);
        }
    } else {
        ssize_t n = write(fds[1], "still here", 10);
        if (n == -1) CHECK(errno == EPIPE);
        finish(t);
        CHECK((n == 10) == (got == 10));
    }
    bool waited = got == 10;
    if (waited) {
        CHECK(memcmp(text, "still here", 10) == 0);
        // The last reference went with the call: now the peer sees the end.
        if (kind < 2) {
            char c;
            CHECK(read(fds[1], &c, 1) == 0);
        } else {
            CHECK(write(fds[1], "x", 1) == -1 && errno == EPIPE);
        }
    }
    put(other[1], "o", 1);
    char c;
    CHECK(read(other[0], &c, 1) == 1 && c == 'o');
    close(other[0]);
    close(other[1]);
    close(fds[1]);
    return waited;
}

int main() {
    signal(SIGPIPE, SIG_IGN);
    CHECK(sem_init(&ready, 0, 0) == 0);
    const char* names[] = {"tcp", "unix", "pipe"};
    for (int kind = 0; kind < 3; kind++) {
        bool waited = false;
        for (int patience = 30; !waited && patience < 1000; patience *= 2)
            waited = attempt(kind, patience);
        CHECK(waited);
        printf("%s: the waiting read went on\n", names[kind]);
    }
    return 0;
}
