// expect: fibers>=1000
// Threads that create threads: a ternary tree of joined ones, and a storm of detached ones that
// create each other.
#include "switching.h"

static int born, storm, storm_ended;

static void* node(void* depth) {
    bump(&born);
    long d = (long)depth, below = 0;
    pthread_t child[3];
    if (d > 0)
        for (int i = 0; i < 3; i++) child[i] = spawn(node, (void*)(d - 1));
    if (d > 0)
        for (int i = 0; i < 3; i++) below += (long)join(child[i]);
    return (void*)(below + 1);
}

static pthread_attr_t detached;

static void* storms(void* left) {
    bump(&storm);
    if ((long)left > 0)
        for (int i = 0; i < 2; i++) {
            pthread_t t;
            CHECK_OK(pthread_create(&t, &detached, storms, (void*)((long)left - 1)));
        }
    bump(&storm_ended);
    return NULL;
}

int main(void) {
    long all = (long)join(spawn(node, (void*)5));
    CHECK_EQ(all, 364);
    CHECK_EQ(born, 364);
    CHECK_OK(pthread_attr_init(&detached));
    CHECK_OK(pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED));
    CHECK_OK(pthread_attr_setstacksize(&detached, 64 << 10));
    for (int i = 0; i < 3; i++) {
        pthread_t t;
        CHECK_OK(pthread_create(&t, &detached, storms, (void*)8));
    }
    wait_for(&storm_ended, 3 * 511);
    printf("tree %ld, storm %d\n", all, storm);
    return 0;
}
