// limit: 30
// expect: handoffs>=200 missed_blocking=0
// A region that the program opens itself: the others run meanwhile, with one processor too; waits,
// signals, forks, ends and second begins inside it are harmless.
#include "twin.h"

#include <atomic>

#include "../../../interpose/pfiber.h"
#include "inline_syscall.h"

static int ping[2], pong[2];
static std::atomic<int> handled, forks;

static long unseen_read(int fd, char* byte) {
    return inline_syscall(SYS_read, fd, reinterpret_cast<long>(byte), 1, 0);
}

static void* answers(void*) {
    for (int i = 0; i < 100; i++) {
        char c;
        pfiber_syscall_block_begin();
        pfiber_syscall_block_begin();
        const long got = unseen_read(ping[0], &c);
        pfiber_syscall_block_end();
        pfiber_syscall_block_end();
        CHECK_EQ(got, 1);
        put(pong[1], &c, 1);
    }
    return nullptr;
}

static void* asks(void*) {
    for (int i = 0; i < 100; i++) {
        char c = static_cast<char>(i), back = 0;
        put(ping[1], &c, 1);
        pfiber_syscall_block_begin();
        CHECK_EQ(unseen_read(pong[0], &back), 1);
        pfiber_syscall_block_end();
        CHECK_EQ(back, c);
    }
    return nullptr;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int turns;

// Waits inside a region take a processor and give it back.
static void* takes_turns(void* argument) {
    const int mine = argument != nullptr;
    pfiber_syscall_block_begin();
    for (int i = 0; i < 100; i++) {
        CHECK(pthread_mutex_lock(&lock) == 0);
        while (turns % 2 != mine) CHECK(pthread_cond_wait(&turned, &lock) == 0);
        turns++;
        CHECK(pthread_cond_broadcast(&turned) == 0);
        CHECK(pthread_mutex_unlock(&lock) == 0);
    }
    if (mine) pfiber_goexit();
    pfiber_syscall_block_end();
    return nullptr;
}

static void* forks_inside(void*) {
    pfiber_syscall_block_begin();
    const pid_t child = fork();
    if (child == 0) {
        pfiber_syscall_block_end();
        finish(start([](void*) -> void* { return nullptr; }, nullptr));
        _exit(7);
    }
    pfiber_syscall_block_end();
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    forks += WIFEXITED(status) && WEXITSTATUS(status) == 7;
    return nullptr;
}

static void on_signal(int) {
    pfiber_syscall_block_end();  // a handler's own calls are no part of the region
    handled++;
}

static void* is_signalled(void* argument) {
    const int fd = *static_cast<int*>(argument);
    char c;
    pfiber_syscall_block_begin();
    while (unseen_read(fd, &c) != 1) {
    }
    pfiber_syscall_block_end();
    return nullptr;
}

int main() {
    CHECK(pipe(ping) == 0 && pipe(pong) == 0);
    struct sigaction action = {};
    action.sa_handler = on_signal;
    CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
    pthread_t a = start(answers, nullptr), b = start(asks, nullptr);
    finish(a);
    finish(b);
    a = start(takes_turns, nullptr), b = start(takes_turns, &a);
    finish(a);
    finish(b);
    finish(start(forks_inside, nullptr));
    int fds[2];
    CHECK(pipe(fds) == 0);
    a = start(is_signalled, &fds[0]);
    nap(20);
    CHECK(pthread_kill(a, SIGUSR1) == 0);
    put(fds[1], "x", 1);
    finish(a);
    while (handled.load() == 0) nap(1);
    printf("%d turns, %d forks, %d handled\n", turns, forks.load(), handled.load());
    return 0;
}
