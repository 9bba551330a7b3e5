// Every spelling of sched_yield lets the other thread run: two threads take turns by nothing else.
// Were a spelling to do nothing, each turn would take a whole slice.
// expect: fibers>=2 native_fallbacks=0 missed_blocking=0 handoffs=0 preemptions<300
#include "../../support/twin.h"

#include <dlfcn.h>
#include <stdatomic.h>

enum { kTurns = 2000 };

static int (*yield_call)(void);
static atomic_int turn;

static void* takes_turns(void* arg) {
    const int own = (int)(intptr_t)arg;
    for (int i = 0; i < kTurns; i++) {
        while (atomic_load(&turn) % 2 != own) yield_call();
        atomic_fetch_add(&turn, 1);
    }
    return NULL;
}

int main(void) {
    const char* names[] = {"sched_yield", "__sched_yield", "pthread_yield", "thrd_yield"};
    for (int i = 0; i < COUNT(names); i++) {
        yield_call = (int (*)(void))dlsym(RTLD_DEFAULT, names[i]);
        if (yield_call == NULL)  // for old programs only
            yield_call = (int (*)(void))dlvsym(RTLD_DEFAULT, names[i], "GLIBC_2.2.5");
        CHECK(yield_call != NULL);
        atomic_store(&turn, 0);
        pthread_t one = start(takes_turns, (void*)0), two = start(takes_turns, (void*)1);
        finish(one);
        finish(two);
        printf("%s %d\n", names[i], atomic_load(&turn));
    }
    return 0;
}
