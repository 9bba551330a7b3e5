// What calls wait for: descriptors and queues that are full, and a child that holds a lock on a
// file.  Include twin.h first.
#pragma once
#include <mqueue.h>

// Until not one byte more goes in; the descriptor blocks again afterwards.
TWIN void fill_up(int fd, bool is_socket) {
    static char bytes[4096];
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    for (size_t size = sizeof bytes; size > 0; size /= 16)
        while ((is_socket ? send(fd, bytes, size, 0) : write(fd, bytes, size)) > 0) {
        }
    CHECK(fcntl(fd, F_SETFL, 0) == 0);
}

// Room for one message of 16 bytes; only this process knows it.
TWIN mqd_t make_queue(const char* name) {
    mq_attr a = {};
    a.mq_maxmsg = 1;
    a.mq_msgsize = 16;
    char path[64];
    snprintf(path, sizeof path, "/pfiber-twin-%d-%s", getpid(), name);
    const mqd_t q = mq_open(path, O_CREAT | O_RDWR, 0600, &a);
    CHECK(q != (mqd_t)-1 && mq_unlink(path) == 0);
    return q;
}

// A child that lives until let_go().  It holds the lock on the first byte of the file by the time
// the call returns; a negative number: of none.
struct Holder {
    pid_t child;
    int hold;
};
TWIN Holder hold_lock(int file) {
    int hold[2], locked[2];
    CHECK(pipe2(hold, O_CLOEXEC) == 0 && pipe(locked) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    char c = 'l';
    if (child == 0) {
        close(hold[1]);
        if (file >= 0) CHECK(lockf(file, F_LOCK, 1) == 0);
        put(locked[1], &c, 1);
        _exit((int)take(hold[0], &c, 1));
    }
    CHECK(take(locked[0], &c, 1) == 1);
    CHECK(close(hold[0]) == 0 && close(locked[0]) == 0 && close(locked[1]) == 0);
    return {child, hold[1]};
}
TWIN void let_go(Holder holder) {
    CHECK(close(holder.hold) == 0);
    CHECK(exited_with(reap(holder.child), 0));
}
