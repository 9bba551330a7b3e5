// flags: -ldl
// module: api.c
// expect: locked>=4
// pfiber.h in a library opened by dlopen, while threads run, finds the same pfiber.
#include "twin.h"

#include <dlfcn.h>

#include "../../../interpose/pfiber.h"

static void* library;

static void* name(const char* text) {
    void* found = dlsym(library, text);
    CHECK(found != NULL);
    return found;
}

static void* body(void* argument) {
    CHECK_EQ(((int (*)(void))name("api_bind"))(), 0);
    for (int i = 0; i < 20; i++) ((void (*)(void))name("api_yield"))();
    ((void (*)(void))name("api_unbind"))();
    CHECK_EQ(((int (*)(void))name("api_active"))(), pfiber_active());
    CHECK_EQ(((int (*)(void))name("api_version"))(), pfiber_version());
    CHECK(((long (*)(void))name("api_alive"))() >= 2 || !pfiber_active());
    ((void (*)(void))name("api_end"))();
    return argument;
}

static void* waits(void* argument) {
    wait_sem((sem_t*)argument);
    return NULL;
}

int main(void) {
    sem_t opened;
    CHECK(sem_init(&opened, 0, 0) == 0);
    pthread_t first = start(waits, &opened);
    library = dlopen(MODULE_DIR "/api.so", RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    CHECK(sem_post(&opened) == 0);
    finish(first);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) threads[i] = start(body, threads);
    int ended = 0;
    for (int i = 0; i < 4; i++) ended += finish(threads[i]) == NULL;
    int (*maxprocs)(int) = (int (*)(int))name("api_maxprocs");
    maxprocs(2);
    CHECK_EQ(maxprocs(0), pfiber_gomaxprocs(0));
    printf("%d ended\n", ended);
    return 0;
}
