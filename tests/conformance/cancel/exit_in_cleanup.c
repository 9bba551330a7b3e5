// pthread_exit inside a clean-up handler changes the value that join gets; the outer handlers and
// the key destructors still run, each once; destructors that set values again get further rounds.
// Needs unwind tables: with the setjmp form of the push macro glibc calls the inner handler for
// ever.
// flags: -fexceptions
// expect: fibers>=3 native_fallbacks=0 locked=0
#include "../../support/twin.h"
#include <limits.h>

static char trace[64];
static int length, rounds;
static sem_t entered;
static pthread_key_t key, stubborn;

static void note(char c) { trace[length++] = c; }
static void outer(void* arg) {
    (void)arg;
    note('o');
}
static void inner(void* arg) {
    (void)arg;
    note('i');
    pthread_exit((void*)"changed");
}
static void* body(void* arg) {
    CHECK(pthread_setspecific(key, "value") == 0);
    pthread_cleanup_push(outer, NULL);
    pthread_cleanup_push(inner, NULL);
    sem_post(&entered);
    if (arg) pthread_exit("first");
    while (1) pause();
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return NULL;
}
static void on_key(void* value) {
    CHECK(strcmp(value, "value") == 0 && pthread_getspecific(key) == NULL);
    note('k');
}
static void again(void* value) {
    rounds++;
    CHECK(pthread_setspecific(stubborn, value) == 0);
}
static void* sets_stubborn(void* arg) {
    CHECK(pthread_setspecific(stubborn, arg) == 0);
    sem_post(&entered);
    while (1) sleep(100);
    return NULL;
}

int main(void) {
    CHECK(sem_init(&entered, 0, 0) == 0);
    CHECK(pthread_key_create(&key, on_key) == 0 && pthread_key_create(&stubborn, again) == 0);
    pthread_t t = start(body, NULL);
    wait_sem(&entered);
    CHECK(pthread_cancel(t) == 0);
    CHECK(strcmp(finish(t), "changed") == 0);
    CHECK(strcmp(finish(start(body, (void*)1)), "changed") == 0);
    wait_sem(&entered);
    t = start(sets_stubborn, (void*)1);
    wait_sem(&entered);
    CHECK(pthread_cancel(t) == 0);
    CHECK(finish(t) == PTHREAD_CANCELED);
    CHECK(rounds == PTHREAD_DESTRUCTOR_ITERATIONS);
    printf("%s, %d rounds\n", trace, rounds);
    return strcmp(trace, "iokiok") != 0;
}
