// Waiting for asynchronous requests that do not complete: a handler ends aio_suspend and
// lio_listio, with SA_RESTART only where there is a time limit; cancellation ends aio_suspend.
// limit: 30
// expect: fibers>=6
#include "../../support/twin.h"
#include <aio.h>
#include <atomic>

static int fds[2];
static char byte;
static std::atomic<int> handled, ended;

static void on_signal(int) { handled++; }

struct Wait {
    aiocb block = {};
    aiocb* list[1];
    int how;

    explicit Wait(int form) : how(form) {
        block.aio_fildes = fds[0];
        block.aio_buf = &byte;
        block.aio_nbytes = 1;
        block.aio_lio_opcode = LIO_READ;
        list[0] = &block;
    }
    int run() {
        const timespec hour = {3600, 0};
        if (how == 2) return lio_listio(LIO_WAIT, list, 1, nullptr);
        CHECK(aio_read(&block) == 0);
        return aio_suspend(list, 1, how == 1 ? &hour : nullptr);
    }
};

static void* waits(void* argument) {
    auto* wait = static_cast<Wait*>(argument);
    const int answer = wait->run();
    const int error = errno;
    ended = 1;
    printf("  answer %d, %s\n", answer, answer == 0 ? "0" : strerrorname_np(error));
    return nullptr;
}

// What is still asked for is given, so that the next one starts afresh.
static void complete(Wait* wait) {
    CHECK(write(fds[1], "x", 1) == 1);
    while (aio_error(&wait->block) == EINPROGRESS) sched_yield();
    CHECK(aio_return(&wait->block) == 1);
}

static void interrupted(const char* name, int how, int flags, bool ends) {
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = flags;
    CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
    printf("%s\n", name);
    handled = ended = 0;
    Wait wait(how);
    pthread_t thread = start(waits, &wait);
    // A signal that comes before the wait ends nothing: until one has.
    constexpr int kEnough = 20;
    while (ends ? !ended : handled < kEnough) {
        CHECK(pthread_kill(thread, SIGUSR1) == 0);
        nap(1);
    }
    if (!ends) printf("  goes on: %s\n", ended ? "no" : "yes");
    // libc leaves an interrupted lio_listio's notes in frames that are gone.
    if (how != 2 || !ends) complete(&wait);
    finish(thread);
}

static void cancelled(const char* name, int how) {
    printf("%s\n", name);
    ended = 0;
    Wait wait(how);
    pthread_t thread = start(waits, &wait);
    nap(5);
    CHECK(pthread_cancel(thread) == 0);
    CHECK(finish(thread) == PTHREAD_CANCELED);
    printf("  cancelled: %s\n", ended ? "no" : "yes");
    complete(&wait);
}

int main() {
    CHECK(pipe(fds) == 0);
    interrupted("aio_suspend", 0, 0, true);
    interrupted("aio_suspend, SA_RESTART", 0, SA_RESTART, false);
    interrupted("aio_suspend with a limit", 1, 0, true);
    interrupted("aio_suspend with a limit, SA_RESTART", 1, SA_RESTART, true);
    interrupted("lio_listio, SA_RESTART", 2, SA_RESTART, false);
    cancelled("aio_suspend", 0);
    cancelled("aio_suspend with a limit", 1);
    interrupted("lio_listio", 2, 0, true);
    return 0;
}
