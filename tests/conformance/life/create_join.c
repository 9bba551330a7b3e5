// expect: fibers>=20
// create, join, detach: results come back, the join-time errors are glibc's, results survive
// moving.
#include "switching.h"

static int release_it;

static void* returns_argument(void* x) {
    move_about(4);
    return x;
}
static void* exits_with_argument(void* x) {
    move_about(4);
    pthread_exit(x);
}
static void* waits(void* unused) {
    (void)unused;
    wait_for(&release_it, 1);
    return (void*)123;
}
static void* joins(void* t) {
    void* result;
    CHECK_OK(pthread_join((pthread_t)t, &result));
    return (void*)((long)result + 1);
}
static int detached_done;
static void* detaches_itself(void* unused) {
    (void)unused;
    CHECK_OK(pthread_detach(pthread_self()));
    CHECK_RC(pthread_detach(pthread_self()), EINVAL);
    bump(&detached_done);
    return NULL;
}

int main(void) {
    long sum = 0;
    pthread_t t[20];
    for (long i = 0; i < 20; i++)
        t[i] = spawn(i % 2 ? returns_argument : exits_with_argument, (void*)(i * i));
    for (int i = 19; i >= 0; i--) {
        long got = (long)join(t[i]);
        CHECK_EQ(got, i * i);
        sum += got;
    }
    CHECK_RC(pthread_join(pthread_self(), NULL), EDEADLK);
    // Circles of joins and second joiners are not tried: glibc 2.36 detects neither.

    // Joining through a chain of threads.
    pthread_t first = spawn(waits, NULL), second = spawn(joins, (void*)first),
              third = spawn(joins, (void*)second);
    likely_blocked();
    bump(&release_it);
    CHECK_EQ((long)join(third), 125);

    // Detached threads cannot be joined or detached again.
    release_it = 0;
    pthread_t d = spawn(waits, NULL);
    CHECK_OK(pthread_detach(d));
    CHECK_RC(pthread_join(d, NULL), EINVAL);
    CHECK_RC(pthread_detach(d), EINVAL);
    pthread_attr_t a;
    int state;
    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED));
    CHECK_OK(pthread_attr_getdetachstate(&a, &state));
    CHECK_EQ(state, PTHREAD_CREATE_DETACHED);
    pthread_t e;
    CHECK_OK(pthread_create(&e, &a, waits, NULL));
    CHECK_RC(pthread_join(e, NULL), EINVAL);
    bump(&release_it);
    spawn(detaches_itself, NULL);
    wait_for(&detached_done, 1);
    printf("sum %ld, detached %d\n", sum, detached_done);
    return 0;
}
