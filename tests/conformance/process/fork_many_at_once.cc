// Eight threads fork at the same time, ten children each; every child makes a thread, and each
// parent thread gets the codes of its own children.  Children fork in turn.
// limit: 20
// expect: fibers>=8 native_fallbacks=0
#include "../../support/twin.h"

static void* say(void* arg) { return arg; }

static void* forker(void* arg) {
    int id = (int)(intptr_t)arg, right = 0;
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(finish(start(say, (void*)5)) == (void*)5);
            if (i % 5 == 0) {
                pid_t grandchild = fork();
                CHECK(grandchild >= 0);
                if (grandchild == 0) _exit(finish(start(say, (void*)9)) == (void*)9 ? 99 : 1);
                CHECK(exited_with(reap(grandchild), 99));
            }
            _exit(id * 10 + i);
        }
        right += exited_with(reap(child), id * 10 + i);
    }
    return (void*)(intptr_t)right;
}

int main() {
    pthread_t t[8];
    int right = 0;
    for (int i = 0; i < 8; i++) t[i] = start(forker, (void*)(intptr_t)i);
    for (pthread_t one : t) right += (int)(intptr_t)finish(one);
    printf("%d of 80 children right\n", right);
    return right != 80;
}
