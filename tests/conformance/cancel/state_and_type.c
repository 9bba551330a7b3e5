// Disabled cancellation keeps a request pending over any number of cancellation points; it is
// acted on at the next one once enabled, by pthread_testcancel too; bad values give EINVAL, old
// values are reported.
// expect: fibers>=3 native_fallbacks=0 locked=0
#include "../../support/twin.h"

static sem_t at, go;
static int fds[2];
static volatile int passed, reached_after;

static void* disabled(void* arg) {
    int old = -1;
    char c;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old) == 0 &&
          old == PTHREAD_CANCEL_ENABLE);
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old) == 0 &&
          old == PTHREAD_CANCEL_DEFERRED);
    CHECK(pthread_setcancelstate(77, &old) == EINVAL && pthread_setcanceltype(77, &old) == EINVAL);
    sem_post(&at);
    wait_sem(&go);  // The request is made now.
    for (int i = 0; i < 10; i++) {
        CHECK(read(fds[0], &c, 1) == 1);
        nap(1);
        pthread_testcancel();
        passed++;
    }
    // Enabling is no cancellation point of the deferred kind.
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old) == 0 &&
          old == PTHREAD_CANCEL_DISABLE);
    reached_after++;
    switch ((int)(intptr_t)arg) {
        case 0:
            pthread_testcancel();
            break;
        case 1:
            (void)!read(fds[0], &c, 1);
            break;
        case 2:
            nap(0);
            break;
    }
    reached_after += 100;
    return NULL;
}

int main(void) {
    CHECK(sem_init(&at, 0, 0) == 0 && sem_init(&go, 0, 0) == 0 && pipe(fds) == 0);
    int cancelled = 0;
    for (int kind = 0; kind < 3; kind++) {
        pthread_t t = start(disabled, (void*)(intptr_t)kind);
        wait_sem(&at);
        CHECK(pthread_cancel(t) == 0 && pthread_cancel(t) == 0);
        sem_post(&go);
        put(fds[1], "0123456789", 10);
        if (kind == 1) put(fds[1], "x", 1);  // Data is there: the pending request wins.
        cancelled += finish(t) == PTHREAD_CANCELED;
        char c;
        if (kind == 1) CHECK(read(fds[0], &c, 1) == 1 && c == 'x');
    }
    printf("passed %d, after %d, cancelled %d\n", passed, reached_after, cancelled);
    return passed != 30 || reached_after != 3 || cancelled != 3;
}
