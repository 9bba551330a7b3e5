// flags: -ldl
// module: ie_tls.c
// Initial-exec variables of a library that was opened have their first values in every new thread,
// also where threads ended before; the child of a fork opens it again beside a thread of its own.
// expect: fibers>=13
#include <dlfcn.h>

#include "../../support/twin.h"

static void* library;
static long (*ie_add)(long);
static int (*ie_second)(void);

static void open_library(void) {
    library = dlopen(MODULE_DIR "/ie_tls.so", RTLD_NOW);
    if (library == NULL) check_failed(__FILE__, __LINE__, "dlopen", ": %s", dlerror());
    ie_add = (long (*)(long))dlsym(library, "ie_add");
    ie_second = (int (*)(void))dlsym(library, "ie_second");
}

static void* changes(void* fresh) {
    if (ie_add(100) == 142 && ie_second() == 7) ++*(int*)fresh;
    return NULL;
}

static int fresh_of(int threads) {
    int fresh = 0;
    for (int i = 0; i < threads; i++) finish(start(changes, &fresh));
    return fresh;
}

static void* nothing(void* arg) { return arg; }

static sem_t turn, taken;
static void* changes_by_turns(void* fresh) {
    for (int i = 0; i < 3; i++) {
        wait_sem(&turn);
        changes(fresh);
        sem_post(&taken);
    }
    return NULL;
}

// A thread that is there while the library comes and goes.
static int fresh_each_time(void) {
    int fresh = 0;
    CHECK(sem_init(&turn, 0, 0) == 0 && sem_init(&taken, 0, 0) == 0);
    pthread_t t = start(changes_by_turns, &fresh);
    for (int i = 0; i < 3; i++) {
        open_library();
        sem_post(&turn);
        wait_sem(&taken);
        fresh += fresh_of(1);
        CHECK(dlclose(library) == 0);
    }
    finish(t);
    return fresh;
}

static int in_child(int (*count)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit(count());
    return reap(child) >> 8;
}

static int four(void) { return fresh_of(4); }

int main(void) {
    finish(start(nothing, NULL));
    open_library();
    printf("fresh in %d of 4 threads\n", fresh_of(4));
    printf("in a child %d of 4\n", in_child(four));
    CHECK(dlclose(library) == 0);
    printf("opened three times %d of 6, in a child %d of 6\n", fresh_each_time(),
           in_child(fresh_each_time));
    printf("then %d of 6\n", fresh_each_time());
    return 0;
}
