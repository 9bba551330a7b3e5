// A TCP socket whose receives were short for a while still delivers everything: ends of the stream,
// urgent marks, data behind a poll for hang-ups only, full reads, several readers, O_NONBLOCK.
// expect: fibers>=10 native_fallbacks=0 locked=0
#include <fcntl.h>
#include <sys/ioctl.h>

#include "../../support/twin.h"

static int fds[2];
static sem_t go;

static void say(const char* text) {
    CHECK(write(fds[1], text, strlen(text)) == (ssize_t)strlen(text));
}

// Everything up to `wanted` bytes, by reads that ask for more.
static void expect(const char* wanted) {
    char b[256];
    size_t got = 0;
    while (got < strlen(wanted)) {
        ssize_t n = read(fds[0], b + got, sizeof b - got);
        CHECK(n > 0);
        got += (size_t)n;
    }
    CHECK(got == strlen(wanted) && memcmp(b, wanted, got) == 0);
}

// The other side of one exchange; the nap lets the reader wait first.
static void* answer(void* text) {
    wait_sem(&go);
    nap(5);
    say((const char*)text);
    return nullptr;
}
static void exchange(const char* text) {
    pthread_t t = start(answer, (void*)text);
    sem_post(&go);
    expect(text);
    finish(t);
}

static void fresh() {
    tcp_pair(fds);
    exchange("first");
    exchange("second");
}
static void done() {
    close(fds[0]);
    close(fds[1]);
}

static void* half_close(void*) {
    nap(10);
    say("last words");
    CHECK(shutdown(fds[1], SHUT_WR) == 0);
    return nullptr;
}
static void* urgent(void*) {
    nap(10);
    say("abc");
    CHECK(send(fds[1], "!", 1, MSG_OOB) == 1);
    say("def");
    return nullptr;
}
static void* read_one(void* count) {
    char b[64];
    for (;;) {
        ssize_t n = read(fds[0], b, sizeof b);
        CHECK(n >= 0);
        if (n == 0) return nullptr;
        __atomic_add_fetch((long*)count, n, __ATOMIC_SEQ_CST);
    }
}

int main() {
    CHECK(sem_init(&go, 0, 0) == 0);

    fresh();  // data and the end at once
    pthread_t t = start(half_close, nullptr);
    expect("last words");
    char b[64];
    CHECK(read(fds[0], b, sizeof b) == 0 && read(fds[0], b, sizeof b) == 0);
    finish(t);
    done();

    fresh();  // an urgent byte ends a receive early, and is fetched before the rest
    t = start(urgent, nullptr);
    expect("abc");
    while (recv(fds[0], b, 1, MSG_OOB) != 1) nap(1);
    expect("def");
    finish(t);
    exchange("after the mark");
    done();

    fresh();  // a poll that does not ask for data
    for (int i = 0; i < 3; i++) {
        say("behind");
        pollfd p = {fds[0], POLLRDHUP, 0};
        CHECK(poll(&p, 1, 20) == 0);
        expect("behind");
    }
    done();

    fresh();  // a peek, and a receive that fits exactly, leave the rest
    say("12345678");
    nap(5);
    CHECK(recv(fds[0], b, 4, MSG_PEEK) == 4);
    CHECK(recv(fds[0], b, 4, 0) == 4);
    expect("5678");
    exchange("again");
    done();

    fresh();  // a program that turned O_NONBLOCK on knows by itself when there is data
    const int mode = fcntl(fds[0], F_GETFL);
    CHECK(fcntl(fds[0], F_SETFL, mode | O_NONBLOCK) == 0);
    say("loud");
    int queued = 0;
    while (queued < 4) CHECK(ioctl(fds[0], FIONREAD, &queued) == 0);
    expect("loud");
    CHECK(read(fds[0], b, sizeof b) == -1 && errno == EAGAIN);
    CHECK(fcntl(fds[0], F_SETFL, mode) == 0);
    exchange("quiet");
    done();

    fresh();  // several readers of one socket
    long count = 0;
    pthread_t readers[4];
    for (pthread_t& reader : readers) reader = start(read_one, &count);
    long sent = 0;
    for (int i = 0; i < 2000; i++) {
        const char* text = i % 3 == 0 ? "0123456789012345678901234567890123456789" : "x";
        say(text);
        sent += (long)strlen(text);
        if (i % 50 == 0) nap(1);
    }
    CHECK(shutdown(fds[1], SHUT_WR) == 0);
    for (pthread_t reader : readers) finish(reader);
    CHECK_EQ(count, sent);
    done();

    puts("ends, urgent data, polls, exact receives, modes and several readers lost nothing");
    return 0;
}
