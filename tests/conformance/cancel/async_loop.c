// Asynchronous cancellation ends a loop that calls nothing, at once and with its handlers;
// deferred cancellation does not touch such a loop until it reaches a cancellation point.
// expect: fibers>=6 native_fallbacks=0
#include "../../support/twin.h"

static sem_t running;
static volatile int cleaned, let_go;
static volatile unsigned long spins;

static void cleanup(void* arg) {
    (void)arg;
    cleaned++;
}
static void* spin_async(void* arg) {
    pthread_cleanup_push(cleanup, NULL);
    int old = -1;
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old) == 0 && old == 0);
    sem_post(&running);
    while (1) spins++;
    pthread_cleanup_pop(0);
    return arg;
}
static void* spin_deferred(void* arg) {
    pthread_cleanup_push(cleanup, NULL);
    sem_post(&running);
    while (!let_go) spins++;
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return arg;
}
// A request that came while disabled acts when asynchronous cancellation is switched on.
static void* switched_on(void* arg) {
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_cancel(pthread_self());
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_testcancel();
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    spins++;
    return arg;
}

int main(void) {
    CHECK(sem_init(&running, 0, 0) == 0);
    int cancelled = 0;
    for (int i = 0; i < 4; i++) {
        pthread_t t = start(spin_async, NULL);
        wait_sem(&running);
        nap(5);
        CHECK(pthread_cancel(t) == 0);
        cancelled += finish(t) == PTHREAD_CANCELED;
    }
    pthread_t t = start(spin_deferred, NULL);
    wait_sem(&running);
    CHECK(pthread_cancel(t) == 0);
    nap(30);
    CHECK(cleaned == 4);
    let_go = 1;
    cancelled += finish(t) == PTHREAD_CANCELED;
    cancelled += finish(start(switched_on, NULL)) == PTHREAD_CANCELED;
    printf("%d cancelled, %d cleaned up\n", cancelled, cleaned);
    return cancelled != 6 || cleaned != 5;
}
