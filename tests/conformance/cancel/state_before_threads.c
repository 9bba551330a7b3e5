// State and type that main sets before there is any other thread hold once there are; a child of a
// thread that forks has its state.
// expect: no-stats
#include "../../support/twin.h"

static pthread_t main_thread;

static void* cancels(void* arg) {
    CHECK(pthread_cancel(main_thread) == 0);
    return arg;
}

static void* forks(void* arg) {
    int old = -1;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old) == 0);
    pid_t child = fork();
    if (child == 0) {
        // Before and after the child's first thread.
        int state = -1;
        CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state) == 0);
        pthread_t self = pthread_self();
        main_thread = self;
        finish(start(cancels, NULL));
        pthread_testcancel();
        CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old) == 0);
        _exit(10 * state + old);
    }
    printf("child's states %d\n", reap(child) >> 8);
    fflush(stdout);
    return arg;
}

static void acted(void* arg) {
    (void)arg;
    printf("main is cancelled\n");
    fflush(stdout);
}

int main(void) {
    int state = -1, type = -1;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state) == 0);
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type) == 0);
    printf("at first %d %d\n", state, type);
    main_thread = pthread_self();
    finish(start(cancels, NULL));
    pthread_testcancel();
    nap(1);
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type) == 0);
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state) == 0);
    printf("then %d %d\n", state, type);
    finish(start(forks, NULL));
    fflush(stdout);
    pthread_cleanup_push(acted, NULL);
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state) == 0);
    pthread_testcancel();
    pthread_cleanup_pop(0);
    printf("never here\n");
    return 1;
}
