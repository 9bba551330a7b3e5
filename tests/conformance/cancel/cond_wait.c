// A thread cancelled in pthread_cond_wait or pthread_cond_timedwait owns the mutex again in its
// clean-up handler, and no signal meant for another waiter is lost by it.
// expect: fibers>=22 native_fallbacks=0 locked=0
#include "../../support/twin.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int waiting, cleaned, tokens, taken, inside;

static void cleanup(void* arg) {
    (void)arg;
    CHECK(pthread_mutex_trylock(&mutex) == EBUSY);
    CHECK(inside++ == 0);
    nap(1);
    inside--;
    cleaned++;
    CHECK(pthread_mutex_unlock(&mutex) == 0);
}

static void* waiter(void* arg) {
    int timed = arg != NULL;
    CHECK(pthread_mutex_lock(&mutex) == 0);
    pthread_cleanup_push(cleanup, NULL);
    waiting++;
    struct timespec limit = after_ms(CLOCK_REALTIME, 60000);
    while (tokens == 0) {
        if (timed)
            CHECK(pthread_cond_timedwait(&cond, &mutex, &limit) == 0);
        else
            CHECK(pthread_cond_wait(&cond, &mutex) == 0);
    }
    tokens--;
    taken++;
    pthread_cleanup_pop(0);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    return (void*)1;
}

int main(void) {
    pthread_t t[20];
    for (int i = 0; i < 20; i++) t[i] = start(waiter, (void*)(intptr_t)(i % 2));
    for (int n = 0; n < 20; nap(1)) {
        pthread_mutex_lock(&mutex);
        n = waiting;
        pthread_mutex_unlock(&mutex);
    }
    // Held while the requests are made: the handlers must wait for it.
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < 10; i++) CHECK(pthread_cancel(t[i]) == 0);
    nap(10);
    CHECK(cleaned == 0);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 10; i++) CHECK(finish(t[i]) == PTHREAD_CANCELED);
    CHECK(cleaned == 10);
    for (int i = 10; i < 20; i++) {
        pthread_mutex_lock(&mutex);
        tokens++;
        pthread_cond_signal(&cond);
        pthread_mutex_unlock(&mutex);
    }
    for (int i = 10; i < 20; i++) CHECK(finish(t[i]) == (void*)1);
    CHECK(taken == 10 && tokens == 0);

    // Cancel and signal together: either the waiter took the token or it is left for the next one.
    int cancelled = 0, kept = 0;
    for (int i = 0; i < 50; i++) {
        waiting = 0;
        pthread_t a = start(waiter, NULL), b = start(waiter, NULL);
        for (int n = 0; n < 2;) {
            pthread_mutex_lock(&mutex);
            n = waiting;
            pthread_mutex_unlock(&mutex);
        }
        pthread_mutex_lock(&mutex);
        tokens++;
        pthread_cond_signal(&cond);
        pthread_mutex_unlock(&mutex);
        CHECK(pthread_cancel(a) == 0);
        void* result = finish(a);
        cancelled += result == PTHREAD_CANCELED;
        kept += result == (void*)1;
        if (result == (void*)1) {
            pthread_mutex_lock(&mutex);
            tokens++;
            pthread_cond_signal(&cond);
            pthread_mutex_unlock(&mutex);
        }
        // The other one gets the token without a further signal.
        CHECK(finish(b) == (void*)1);
    }
    CHECK(cancelled + kept == 50 && tokens == 0 && inside == 0);
    puts("10 cancelled with the mutex, 10 signalled, no token lost in 50 races");
    return 0;
}
