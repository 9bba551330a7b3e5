// POSIX AIO: reads and writes that complete in the background, aio_suspend from a thread,
// lio_listio, completion by callback thread and by signal, a read that waits for a pipe.
// limit: 20
#include "../../support/twin.h"
#include <aio.h>

static sem_t done;
static volatile int callbacks;
static void on_done(union sigval v) {
    CHECK(v.sival_int == 7);
    callbacks++;
    sem_post(&done);
}

static void* suspends(void* arg) {
    struct aiocb* cb = arg;
    const struct aiocb* list[1] = {cb};
    while (aio_error(cb) == EINPROGRESS) CHECK(aio_suspend(list, 1, NULL) == 0 || errno == EINTR);
    CHECK(aio_error(cb) == 0);
    return (void*)(intptr_t)aio_return(cb);
}

int main(void) {
    CHECK(sem_init(&done, 0, 0) == 0);
    FILE* file = tmpfile();
    CHECK(file);
    static char text[4][4096], back[4096];
    struct aiocb cb[4], *list[4];
    memset(cb, 0, sizeof cb);
    for (int i = 0; i < 4; i++) {
        memset(text[i], 'a' + i, sizeof text[i]);
        cb[i].aio_fildes = fileno(file);
        cb[i].aio_buf = text[i];
        cb[i].aio_nbytes = sizeof text[i];
        cb[i].aio_offset = i * 4096;
        cb[i].aio_lio_opcode = LIO_WRITE;
        list[i] = &cb[i];
    }
    CHECK(lio_listio(LIO_WAIT, list, 4, NULL) == 0);
    for (int i = 0; i < 4; i++) CHECK(aio_error(&cb[i]) == 0 && aio_return(&cb[i]) == 4096);

    memset(&cb[0], 0, sizeof cb[0]);
    cb[0].aio_fildes = fileno(file);
    cb[0].aio_buf = back;
    cb[0].aio_nbytes = sizeof back;
    cb[0].aio_offset = 4096;
    cb[0].aio_sigevent.sigev_notify = SIGEV_THREAD;
    cb[0].aio_sigevent.sigev_notify_function = on_done;
    cb[0].aio_sigevent.sigev_value.sival_int = 7;
    CHECK(aio_read(&cb[0]) == 0);
    CHECK(finish(start(suspends, &cb[0])) == (void*)4096);
    CHECK(back[0] == 'b' && back[4095] == 'b');
    wait_sem(&done);

    int fds[2];
    CHECK(pipe(fds) == 0);
    memset(&cb[1], 0, sizeof cb[1]);
    cb[1].aio_fildes = fds[0];
    cb[1].aio_buf = back;
    cb[1].aio_nbytes = 10;
    CHECK(aio_read(&cb[1]) == 0);
    pthread_t t = start(suspends, &cb[1]);
    nap(20);
    CHECK(aio_error(&cb[1]) == EINPROGRESS);
    const struct aiocb* wait[1] = {&cb[1]};
    struct timespec brief = {0, 20000000};
    CHECK(aio_suspend(wait, 1, &brief) == -1 && errno == EAGAIN);
    put(fds[1], "late", 4);
    CHECK(finish(t) == (void*)4 && memcmp(back, "late", 4) == 0);
    printf("%d callback\n", callbacks);
    return callbacks != 1;
}
