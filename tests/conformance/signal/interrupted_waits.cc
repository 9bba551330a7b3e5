// sigsuspend and pause return after the handler ran, with the mask as before; siglongjmp leaves a
// handler that interrupted a blocking read, again and again; sem_post in a handler wakes a waiter;
// a handler writes a pipe.
// expect: fibers>=6 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>
#include <setjmp.h>

static std::atomic<int> handled;
static sem_t ready, from_handler;
static int fds[2], out[2];
static __thread sigjmp_buf back;

static void counts(int) { handled++; }
static void posts(int) {
    handled++;
    sem_post(&from_handler);
}
static void writes(int) {
    int saved = errno;
    CHECK(write(out[1], "h", 1) == 1);
    errno = saved;
}
static void jumps(int) {
    handled++;
    siglongjmp(back, 1);
}
static void set(void (*f)(int)) {
    struct sigaction a = {};
    a.sa_handler = f;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
}
static void block(int how) {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    CHECK(pthread_sigmask(how, &s, nullptr) == 0);
}

static void* suspends(void*) {
    block(SIG_BLOCK);
    sigset_t open_mask, now;
    CHECK(pthread_sigmask(SIG_BLOCK, nullptr, &open_mask) == 0);
    sigdelset(&open_mask, SIGUSR1);
    for (int i = 1; i <= 20; i++) {
        sem_post(&ready);
        // The signal may come before or during the call: it cannot be lost.
        CHECK(sigsuspend(&open_mask) == -1 && errno == EINTR && handled == i);
        CHECK(pthread_sigmask(SIG_BLOCK, nullptr, &now) == 0 && sigismember(&now, SIGUSR1));
    }
    return nullptr;
}
static void* polls(void*) {
    block(SIG_BLOCK);
    sigset_t open_mask;
    sigemptyset(&open_mask);
    for (int i = 1; i <= 20; i++) {
        sem_post(&ready);
        CHECK(ppoll(nullptr, 0, nullptr, &open_mask) == -1 && errno == EINTR && handled == i);
    }
    return nullptr;
}
static std::atomic<bool> paused;
static void* pauses(void*) {
    sem_post(&ready);
    CHECK(pause() == -1 && errno == EINTR);
    paused = true;
    return nullptr;
}
static void* jumps_out(void*) {
    volatile int jumped = 0;
    char c;
    if (sigsetjmp(back, 1)) jumped = jumped + 1;
    if (jumped < 30) {
        sem_post(&ready);
        while (true) (void)!read(fds[0], &c, 1);
    }
    // After all the jumps the descriptor and the thread still work.
    block(SIG_BLOCK);
    sem_post(&ready);
    CHECK(read(fds[0], &c, 1) == 1 && c == 'j');
    return (void*)(intptr_t)jumped;
}
static void* waits(void*) {
    for (int i = 0; i < 20; i++) {
        wait_sem(&from_handler);
        sem_post(&ready);
    }
    return nullptr;
}

int main() {
    CHECK(sem_init(&ready, 0, 0) == 0 && sem_init(&from_handler, 0, 0) == 0);
    unix_pair(fds);
    CHECK(pipe(out) == 0);
    set(counts);
    for (auto body : {suspends, polls}) {
        handled = 0;
        pthread_t t = start(body, nullptr);
        for (int i = 0; i < 20; i++) {
            wait_sem(&ready);
            if (i % 2) nap(2);
            CHECK(pthread_kill(t, SIGUSR1) == 0);
        }
        finish(t);
        printf("%d handled\n", (int)handled);
    }
    pthread_t t = start(pauses, nullptr);
    wait_sem(&ready);
    while (!paused) {  // pause is not atomic with what precedes it
        nap(3);
        pthread_kill(t, SIGUSR1);
    }
    finish(t);

    set(jumps);
    handled = 0;
    t = start(jumps_out, nullptr);
    for (int i = 0; i < 30; i++) {
        wait_sem(&ready);
        if (i % 2) nap(2);
        CHECK(pthread_kill(t, SIGUSR1) == 0);
    }
    wait_sem(&ready);
    put(fds[1], "j", 1);
    printf("%d jumps\n", (int)(intptr_t)finish(t));
    CHECK(handled == 30);

    set(posts);
    handled = 0;
    t = start(waits, nullptr);
    pthread_t target = start(twin_ponger, (void*)(intptr_t)fds[0]);
    for (int i = 0; i < 20; i++) {
        CHECK(pthread_kill(i % 2 ? target : pthread_self(), SIGUSR1) == 0);
        wait_sem(&ready);
    }
    finish(t);
    printf("%d posts\n", (int)handled);
    set(writes);
    char b[10];
    for (int i = 0; i < 10; i++) {
        CHECK(pthread_kill(target, SIGUSR1) == 0);
        CHECK(take(out[0], b + i, 1) == 1);
    }
    close(fds[1]);
    finish(target);
    printf("%.10s\n", b);
    return 0;
}
