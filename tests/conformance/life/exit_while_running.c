// exit: 21
// exit() while threads run, wait, sleep and compute: status, atexit order and stdio flush are right
// and nothing waits for them.
#include <stdlib.h>

#include "switching.h"

static int started, empty_pipe[2];
static void one(void) { printf("first registered\n"); }
static void two(void) { printf("second registered\n"); }

static void* waits(void* how) {
    static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
    bump(&started);
    switch ((long)how % 4) {
        case 0:
            CHECK_OK(pthread_mutex_lock(&m));
            for (;;) pthread_cond_wait(&c, &m);
        case 1:
            for (;;) sleep(1000);
        case 2:
            for (volatile unsigned long n = 0;; n++) {
                if (n % 1000000 == 0) sched_yield();
            }
        default:
            for (;;) {
                char byte;
                if (read(empty_pipe[0], &byte, 1) >= 0) _exit(3);
            }
    }
    return NULL;
}

int main(void) {
    CHECK_EQ(pipe(empty_pipe), 0);
    CHECK_EQ(atexit(one), 0);
    CHECK_EQ(atexit(two), 0);
    for (long i = 0; i < 12; i++) spawn(waits, (void*)i);
    wait_for(&started, 12);
    printf("unflushed");  // no newline: only exit's flush writes it
    exit(21);
}
