// Threads that spin on flags which others set, without a call: each has to give way, also when
// there is one processor for all of them.
// expect: fibers=4
#include "switching.h"

static volatile int turn;

static void* follow(void* argument) {
    const int number = (int)(long)argument;
    for (int i = 0; i < 3; i++) {
        while (turn != i * 4 + number) {
        }
        turn = turn + 1;
    }
    return NULL;
}

int main(void) {
    pthread_t threads[4];
    for (long i = 0; i < 4; i++) threads[i] = spawn(follow, (void*)i);
    while (turn != 12) {
    }
    for (int i = 0; i < 4; i++) join(threads[i]);
    printf("turn %d\n", turn);
    return 0;
}
