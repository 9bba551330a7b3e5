// The only thread of a process cancels itself: the next cancellation point acts, a call of the
// program's or one inside libc, in a process that never made a thread and in the child of a thread.
// expect: no-stats
#include "../../support/twin.h"

static void acted(void* arg) { _exit((int)(intptr_t)arg); }

static void by_write(void) {
    if (write(1, "", 0) != 0) _exit(1);
}
static void by_stdio(void) {
    setvbuf(stderr, NULL, _IONBF, 0);
    fputs("", stderr);
    fprintf(stderr, "written by a cancelled thread\n");
}
static void by_sleep(void) { nap(1); }
static void by_test(void) { pthread_testcancel(); }

static int status_after(void (*point)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        pthread_cleanup_push(acted, (void*)(intptr_t)42);
        CHECK(pthread_cancel(pthread_self()) == 0);
        point();
        pthread_cleanup_pop(0);
        _exit(2);
    }
    return reap(child) >> 8;
}

static void* in_thread(void* arg) {
    printf("children of a thread: %d %d %d %d\n", status_after(by_write), status_after(by_stdio),
           status_after(by_sleep), status_after(by_test));
    return arg;
}

int main(void) {
    printf("before threads: %d %d %d %d\n", status_after(by_write), status_after(by_stdio),
           status_after(by_sleep), status_after(by_test));
    finish(start(in_thread, NULL));
    printf("children of main: %d %d %d %d\n", status_after(by_write), status_after(by_stdio),
           status_after(by_sleep), status_after(by_test));
    fflush(stdout);
    pthread_cleanup_push(acted, (void*)0);
    CHECK(pthread_cancel(pthread_self()) == 0);
    by_write();
    pthread_cleanup_pop(0);
    return 3;
}
