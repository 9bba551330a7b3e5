// set*id while libc's helper threads live, which block nearly every signal.
// expect: fibers>=1
#include "../../support/twin.h"
#include <aio.h>
#include <mqueue.h>

static sem_t fired;

static void* changes(void* argument) {
    CHECK(setgid(getgid()) == 0 && setuid(getuid()) == 0);
    CHECK(seteuid(getuid()) == 0 && setresgid(-1, getegid(), -1) == 0);
    return argument;
}

int main() {
    CHECK(sem_init(&fired, 0, 0) == 0);
    sigevent event = {};
    event.sigev_notify = SIGEV_THREAD;
    event.sigev_notify_function = [](sigval) { sem_post(&fired); };
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    char byte;
    aiocb block = {};
    FILE* file = tmpfile();
    CHECK(file);
    block.aio_fildes = fileno(file);
    block.aio_buf = &byte;
    block.aio_nbytes = 1;
    CHECK(aio_read(&block) == 0);
    finish(start(changes, nullptr));
    const itimerspec soon = {{0, 0}, {0, 1}};
    CHECK(timer_settime(timer, 0, &soon, nullptr) == 0);
    wait_sem(&fired);
    finish(start(changes, nullptr));
    const aiocb* const list[] = {&block};
    while (aio_error(&block) == EINPROGRESS) aio_suspend(list, 1, nullptr);
    printf("changed, and the timer fires\n");
    return timer_delete(timer);
}
