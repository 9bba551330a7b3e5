// expect: fibers>=5000
// 5,000 threads alive at once on small stacks: all start, all are counted while alive, all values
// right.
#include "switching.h"

enum { kThreads = 5000 };
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_here = PTHREAD_COND_INITIALIZER, go = PTHREAD_COND_INITIALIZER;
static int alive, open_door;
static __thread long mine = 11;

static void* body(void* n) {
    mine += (long)n;
    CHECK_OK(pthread_mutex_lock(&m));
    if (++alive == kThreads) CHECK_OK(pthread_cond_signal(&all_here));
    while (!open_door) CHECK_OK(pthread_cond_wait(&go, &m));
    CHECK_OK(pthread_mutex_unlock(&m));
    CHECK_EQ(mine, 11 + (long)n);
    return (void*)mine;
}

int main(void) {
    static pthread_t t[kThreads];
    pthread_attr_t a;
    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_setstacksize(&a, 128 << 10));
    for (long i = 0; i < kThreads; i++) {
        int rc = pthread_create(&t[i], &a, body, (void*)i);
        if (rc == EAGAIN) SKIP("this machine does not allow 5,000 threads");
        CHECK_OK(rc);
    }
    CHECK_OK(pthread_mutex_lock(&m));
    while (alive < kThreads) CHECK_OK(pthread_cond_wait(&all_here, &m));
    open_door = 1;
    CHECK_OK(pthread_cond_broadcast(&go));
    CHECK_OK(pthread_mutex_unlock(&m));
    long sum = 0;
    for (int i = 0; i < kThreads; i++) sum += (long)join(t[i]);
    printf("alive %d, sum %ld\n", alive, sum);
    return 0;
}
