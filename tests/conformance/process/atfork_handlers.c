// pthread_atfork: prepare handlers in reverse order, parent and child handlers in order, each in
// the thread that forks; a lock taken in prepare is usable on both sides.
#include "../../support/twin.h"

static char trace[64];
static int length;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t forker;
static int wrong_thread;

static void note(char c) {
    wrong_thread += !pthread_equal(pthread_self(), forker);
    trace[length++] = c;
}
static void prepare1(void) {
    pthread_mutex_lock(&lock);
    note('1');
}
static void parent1(void) {
    note('a');
    pthread_mutex_unlock(&lock);
}
static void child1(void) {
    note('x');
    pthread_mutex_unlock(&lock);
}
static void prepare2(void) { note('2'); }
static void parent2(void) { note('b'); }
static void child2(void) { note('y'); }

static volatile int stop;
static void* locker(void* arg) {
    (void)arg;
    while (!stop) {
        pthread_mutex_lock(&lock);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void* fork_here(void* arg) {
    (void)arg;
    forker = pthread_self();
    int fds[2];
    CHECK(pipe(fds) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(pthread_mutex_lock(&lock) == 0 && pthread_mutex_unlock(&lock) == 0);
        put(fds[1], trace, sizeof trace);
        _exit(pingpong(2, 2) == 4 && wrong_thread == 0 ? 7 : 1);
    }
    char other[sizeof trace];
    CHECK(take(fds[0], other, sizeof other) == sizeof other);
    CHECK(exited_with(reap(child), 7));
    printf("parent %s, child %s, wrong thread %d\n", trace, other, wrong_thread);
    CHECK(strcmp(trace, "21ab") == 0 && strcmp(other, "21xy") == 0 && wrong_thread == 0);
    return NULL;
}

int main(void) {
    CHECK(pthread_atfork(prepare1, parent1, child1) == 0);
    CHECK(pthread_atfork(prepare2, parent2, child2) == 0);
    pthread_t busy = start(locker, NULL);
    finish(start(fork_here, NULL));
    stop = 1;
    finish(busy);
    return 0;
}
