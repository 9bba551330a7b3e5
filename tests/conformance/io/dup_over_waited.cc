// dup2 over a number on which another thread waits: the waiting call stays with the old file, new
// calls use the new one.  A duplicate keeps the connection open after the first number is closed.
#include "../../support/twin.h"

static int old_pair[2], new_pair[2];
static sem_t ready;
static char text[8];
static ssize_t got;

static void* reader(void*) {
    int fd = old_pair[0];
    sem_post(&ready);
    got = recv(fd, text, sizeof text, 0);
    CHECK(got >= 0);
    return nullptr;
}

// false: the reader was late and began its wait on the new file already.
static bool attempt(int patience) {
    unix_pair(old_pair);
    unix_pair(new_pair);
    pthread_t t = start(reader, nullptr);
    wait_sem(&ready);
    nap(patience);
    CHECK(dup2(new_pair[0], old_pair[0]) == old_pair[0]);
    nap(5);
    ssize_t n = send(old_pair[1], "old", 3, MSG_NOSIGNAL);
    bool waited = n == 3;
    if (!waited) {
        CHECK(errno == EPIPE);
        put(new_pair[1], "late", 4);
    }
    finish(t);
    if (waited) {
        CHECK(got == 3 && memcmp(text, "old", 3) == 0);
        char c[8];
        CHECK(recv(old_pair[1], c, 8, 0) == 0);  // The waiting call held the last reference.
        put(new_pair[1], "new", 3);
        CHECK(recv(old_pair[0], c, 8, 0) == 3 && memcmp(c, "new", 3) == 0);
    }
    for (int fd : {old_pair[0], old_pair[1], new_pair[0], new_pair[1]}) close(fd);
    return waited;
}

static void* read_dup(void* arg) {
    int fd = (int)(intptr_t)arg;
    char c;
    int count = 0;
    while (read(fd, &c, 1) == 1) count++;
    return (void*)(intptr_t)count;
}

int main() {
    CHECK(sem_init(&ready, 0, 0) == 0);
    bool waited = false;
    for (int patience = 30; !waited && patience < 1000; patience *= 2) waited = attempt(patience);
    CHECK(waited);
    puts("the waiting call stayed with the old file");

    int fds[2];
    tcp_pair(fds);
    int a = dup(fds[0]), b = fcntl(fds[0], F_DUPFD_CLOEXEC, 100), c = dup3(fds[0], 200, O_CLOEXEC);
    CHECK(a >= 0 && b >= 100 && c == 200);
    pthread_t t[3] = {start(read_dup, (void*)(intptr_t)a), start(read_dup, (void*)(intptr_t)b),
                      start(read_dup, (void*)(intptr_t)c)};
    CHECK(close(fds[0]) == 0);
    for (int i = 0; i < 300; i++) put(fds[1], "x", 1);
    shutdown(fds[1], SHUT_WR);
    int sum = 0;
    for (pthread_t one : t) sum += (int)(intptr_t)finish(one);
    close(a);
    close(b);
    char e;
    pollfd p = {fds[1], POLLIN, 0};
    CHECK(poll(&p, 1, 0) == 0);  // The third duplicate is still open.
    close(c);
    CHECK(read(fds[1], &e, 1) == 0);
    printf("%d bytes through three duplicates\n", sum);
    return sum != 300;
}
