// flags: -fstack-protector-all
// Every function checks a canary read through %fs at its start and end; the thread moves in
// between, so the canary must be the same for all threads; atexit and setjmp use the pointer guard
// next to it.
#include <setjmp.h>
#include <stdlib.h>

#include "switching.h"

static int calls, at_exit_runs;
static void from_thread(void) {
    at_exit_runs++;
    printf("atexit %d\n", at_exit_runs);
}

static void fill(char* buffer, int n) {
    for (int i = 0; i < 32; i++) buffer[i] = (char)(n + i);
    move_about(1);
}

__attribute__((noinline)) static int work(int depth) {
    char buffer[32];
    fill(buffer, depth);
    int below = depth > 0 ? work(depth - 1) : 0;
    for (int i = 0; i < 32; i++) CHECK_EQ(buffer[i], (char)(depth + i));
    bump(&calls);
    return below + 1;
}

static void* body(void* unused) {
    (void)unused;
    jmp_buf place;
    for (volatile int i = 0; i < 5; i++) {
        CHECK_EQ(work(20), 21);
        if (setjmp(place) == 0) {
            move_about(2);
            longjmp(place, 1);
        }
    }
    CHECK_EQ(atexit(from_thread), 0);
    return NULL;
}

int main(void) {
    pthread_t t[6];
    for (int i = 0; i < 6; i++) t[i] = spawn(body, NULL);
    for (int i = 0; i < 6; i++) join(t[i]);
    printf("calls %d\n", calls);
    return 0;
}
