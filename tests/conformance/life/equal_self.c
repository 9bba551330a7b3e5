// pthread_self stays the same through moves, handlers and blocking calls, is what create returned,
// and differs between all threads alive; main's is unchanged by the first thread.
#include <signal.h>

#include "switching.h"

enum { kThreads = 30 };
static pthread_t created[kThreads];
static pthread_barrier_t all;
static int in_handler;
static __thread pthread_t me;

static void handler(int sig) {
    (void)sig;
    if (!pthread_equal(me, pthread_self())) _exit(4);
    bump(&in_handler);
}

static void* body(void* argument) {
    long n = (long)argument;
    me = pthread_self();
    pthread_barrier_wait(&all);
    for (int i = 0; i < 10; i++) {
        move_about(4);
        CHECK(pthread_equal(me, pthread_self()));
        CHECK(pthread_equal(created[n], pthread_self()));
        for (int k = 0; k < kThreads; k++) CHECK_EQ(!!pthread_equal(created[k], me), k == n);
        CHECK_EQ(raise(SIGUSR1), 0);
    }
    pthread_barrier_wait(&all);
    return (void*)me;
}

int main(void) {
    me = pthread_self();
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = handler;
    CHECK_EQ(sigaction(SIGUSR1, &a, NULL), 0);
    CHECK_OK(pthread_barrier_init(&all, NULL, kThreads + 1));
    for (long i = 0; i < kThreads; i++) created[i] = spawn(body, (void*)i);
    CHECK(pthread_equal(me, pthread_self()));
    pthread_barrier_wait(&all);
    for (int i = 0; i < kThreads; i++) CHECK(!pthread_equal(created[i], me));
    pthread_barrier_wait(&all);
    for (int i = 0; i < kThreads; i++) CHECK_EQ(join(created[i]), created[i]);
    move_about(8);
    CHECK(pthread_equal(me, pthread_self()));
    printf("handlers %d\n", in_handler);
    return 0;
}
