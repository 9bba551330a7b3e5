// A number is overwritten by dup2 while a thread waits on it, and the thread is sent a signal at
// once, as OpenJDK closes sockets: the one wait ends with EINTR.  What came before the wait is
// tried again.
#include "../../support/twin.h"

static int listener;
static sem_t ready, done;
static int failed_with;

static void on_signal(int) {}

static void* in_accept(void*) {
    sem_post(&ready);
    failed_with = accept(listener, nullptr, nullptr) == -1 ? errno : 0;
    sem_post(&done);
    return nullptr;
}

static void* in_poll(void*) {
    pollfd one = {listener, POLLIN, 0};
    sem_post(&ready);
    failed_with = poll(&one, 1, -1) == -1 ? errno : 0;
    sem_post(&done);
    return nullptr;
}

static void* in_recv(void*) {
    char c;
    sem_post(&ready);
    failed_with = recv(listener, &c, 1, 0) == -1 ? errno : 0;
    sem_post(&done);
    return nullptr;
}

static bool ends_within(int ms) {
    timespec until = after_ms(CLOCK_REALTIME, ms);
    return sem_timedwait(&done, &until) == 0;
}

// True when the first signal ended the call.
static bool round_of(void* (*call)(void*), bool is_listening) {
    int marker[2], other[2];
    unix_pair(marker);
    unix_pair(other);
    if (is_listening) {
        listener = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(listen(listener, 5) == 0);
    } else {
        listener = dup(other[0]);
    }
    pthread_t thread = start(call, nullptr);
    wait_sem(&ready);
    nap(10);
    CHECK(dup2(marker[0], listener) == listener);
    CHECK(pthread_kill(thread, SIGUSR1) == 0);
    const bool is_first = ends_within(1000);
    if (!is_first) do
            put(marker[1], "", 1), pthread_kill(thread, SIGUSR1);
        while (!ends_within(20));
    finish(thread);
    for (int fd : {marker[0], marker[1], other[0], other[1], listener}) close(fd);
    return is_first && failed_with == EINTR;  // otherwise it came late
}

int main() {
    struct sigaction action = {};
    action.sa_handler = on_signal;
    CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
    CHECK(sem_init(&ready, 0, 0) == 0 && sem_init(&done, 0, 0) == 0);
    int first[3] = {};
    for (int i = 0; i < 10; i++) {
        if (first[0] == 0) first[0] += round_of(in_accept, true);
        if (first[1] == 0) first[1] += round_of(in_poll, true);
        if (first[2] == 0) first[2] += round_of(in_recv, false);
    }
    printf("accept %d poll %d recv %d\n", first[0], first[1], first[2]);
}
