// A mutex in a heap object is destroyed and its memory unmapped by the next owner right after it
// got the lock: the former owner's unlock must not touch the object again, or it faults.
#include <sys/mman.h>

#include "switching.h"

enum { kRounds = 400 };
struct object {
    pthread_mutex_t m;
    int references;
    int kind;
};
static int destroyed;

static void put(struct object* o) {
    CHECK_OK(pthread_mutex_lock(&o->m));
    int left = --o->references;
    if (left == 1) sched_yield();  // lets the other one queue up behind us
    CHECK_OK(pthread_mutex_unlock(&o->m));
    if (left == 0) {
        CHECK_OK(pthread_mutex_destroy(&o->m));
        CHECK_EQ(munmap(o, 4096), 0);
        bump(&destroyed);
    }
}

static void* other(void* o) {
    put(o);
    return NULL;
}

int main(void) {
    for (int i = 0; i < kRounds; i++) {
        struct object* o =
            mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(o != MAP_FAILED);
        pthread_mutexattr_t a;
        CHECK_OK(pthread_mutexattr_init(&a));
        CHECK_OK(pthread_mutexattr_settype(&a, i % 4));
        CHECK_OK(pthread_mutex_init(&o->m, &a));
        o->references = 4;
        pthread_t t[3];
        for (int k = 0; k < 3; k++) t[k] = spawn(other, o);
        put(o);
        for (int k = 0; k < 3; k++) join(t[k]);
    }
    CHECK_EQ(destroyed, kRounds);
    printf("destroyed %d\n", destroyed);
    return 0;
}
