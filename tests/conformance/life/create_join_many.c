// expect: fibers>=20000
// 20,000 times create and join: blocks and stacks are used again, and each new thread finds fresh
// thread-local values, errno and keys.
#include "switching.h"

enum { kThreads = 20000 };
static __thread int fresh = 7;
static __thread char zero[64];
static pthread_key_t key;
static int destroyed;

static void destroy(void* v) {
    (void)v;
    destroyed++;
}

static void* body(void* n) {
    CHECK_EQ(fresh, 7);
    CHECK_EQ(errno, 0);
    CHECK_EQ(pthread_getspecific(key), NULL);
    for (unsigned i = 0; i < sizeof zero; i++) CHECK_EQ(zero[i], 0);
    fresh = 0;
    errno = 5;
    memset(zero, 1, sizeof zero);
    CHECK_OK(pthread_setspecific(key, &fresh));
    return n;
}

int main(void) {
    CHECK_OK(pthread_key_create(&key, destroy));
    long sum = 0;
    for (long i = 0; i < kThreads; i++) sum += (long)join(spawn(body, (void*)i));
    CHECK_EQ(destroyed, kThreads);
    printf("sum %ld, destroyed %d\n", sum, destroyed);
    return 0;
}
