// fork in a signal handler, in a thread that was blocked or busy: the child leaves the handler or
// ends in it, the parent's thread goes on where it was.
// expect: fibers>=2 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static std::atomic<int> made;
static std::atomic<bool> stop;
static int fds[2];
static sem_t done, ready;
static std::atomic<pid_t> child;

static void handler(int) {
    int saved = errno;
    pid_t p = fork();
    CHECK(p >= 0);
    if (p == 0) {
        char text[] = "child";
        CHECK(write(fds[1], text, 5) == 5);
        _exit(21);
    }
    child = p;
    made++;
    sem_post(&done);
    errno = saved;
}
static void* blocked(void* arg) {
    sem_post(&ready);
    char c;
    CHECK(read((int)(intptr_t)arg, &c, 1) == 1 && c == 'e');
    return nullptr;
}
static void* busy(void*) {
    sem_post(&ready);
    volatile unsigned long spin = 0;
    while (!stop) spin = spin + 1;
    return nullptr;
}

// The children return from the handler into what it interrupted, and finish that.
static std::atomic<int> forks;
static volatile bool is_child;
static void fork_and_return(int) {
    int saved = errno;
    pid_t p = fork();
    CHECK(p >= 0);
    if (p == 0) is_child = true;
    if (p > 0) forks++;
    errno = saved;
}
static void* reads_on(void* arg) {
    const int fd = (int)(intptr_t)arg;
    int raised = 0;
    for (int i = 0; i < 200; i++) raised += raise(SIGUSR2) == 0;
    sem_post(&ready);
    char c = 0;
    CHECK(take(fd, &c, 1) == 1 && raised == 200);
    nap(1);
    if (is_child) _exit(c == 'g' ? 33 : 1);
    return nullptr;
}
static void children_go_on() {
    int go[2];
    CHECK(pipe(go) == 0);
    struct sigaction a = {};
    a.sa_handler = fork_and_return;
    a.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
    CHECK(signal(SIGUSR2, [](int) {}) != SIG_ERR);
    pthread_t t = start(reads_on, (void*)(intptr_t)go[0]);
    for (int i = 0; i < 5; i++) CHECK(pthread_kill(t, SIGUSR1) == 0);
    wait_sem(&ready);
    nap(5);
    for (int i = 0; i < 3; i++) {
        const int before = forks;
        CHECK(pthread_kill(t, SIGUSR1) == 0);
        while (forks == before) nap(1);
    }
    // One byte for each: the signals that were pending at once made one child or more.
    const int made_here = forks;
    for (int i = 0; i <= made_here; i++) put(go[1], "g", 1);
    finish(t);
    int ended = 0;
    for (int i = 0; i < made_here; i++) {
        int status = 0;
        CHECK(wait(&status) > 0);
        ended += exited_with(status, 33);
    }
    printf("children that went on: %s\n", ended == made_here ? "all" : "some failed");
}

int main() {
    CHECK(sem_init(&done, 0, 0) == 0 && sem_init(&ready, 0, 0) == 0);
    CHECK(pipe(fds) == 0);
    int hold[2];
    CHECK(pipe(hold) == 0);
    struct sigaction a = {};
    a.sa_handler = handler;
    a.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
    pthread_t t[2] = {start(blocked, (void*)(intptr_t)hold[0]), start(busy, nullptr)};
    wait_sem(&ready);
    wait_sem(&ready);
    nap(5);
    int right = 0;
    for (int i = 0; i < 10; i++) {
        CHECK(pthread_kill(t[i % 2], SIGUSR1) == 0);
        wait_sem(&done);
        char b[5];
        CHECK(take(fds[0], b, 5) == 5 && memcmp(b, "child", 5) == 0);
        right += exited_with(reap(child), 21);
    }
    stop = true;
    put(hold[1], "e", 1);
    for (pthread_t one : t) finish(one);
    children_go_on();
    printf("%d children from handlers, %d right\n", (int)made, right);
    return right != 10;
}
