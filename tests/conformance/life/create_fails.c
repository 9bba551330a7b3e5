// pthread_create that cannot succeed says so with the native code, runs nothing, and leaves the
// process able to make threads.
#include "switching.h"

static int ran, fine;
static void* must_not_run(void* unused) {
    (void)unused;
    bump(&ran);
    return NULL;
}
static void* runs(void* unused) {
    (void)unused;
    bump(&fine);
    return NULL;
}

static void refused(size_t stack, size_t guard, int want) {
    pthread_attr_t a;
    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_setstacksize(&a, stack));
    CHECK_OK(pthread_attr_setguardsize(&a, guard));
    pthread_t t = 0;
    CHECK_RC(pthread_create(&t, &a, must_not_run, NULL), want);
    CHECK_OK(pthread_attr_destroy(&a));
}

int main(void) {
    refused((size_t)1 << 47, 4096,
            EAGAIN);  // more than the address space, before any thread exists
    join(spawn(runs, NULL));
    for (int i = 0; i < 20; i++) {
        refused((size_t)1 << 47, 4096, EAGAIN);
        refused((size_t)1 << 62, 4096, EAGAIN);
        join(spawn(runs, NULL));
    }
    // An empty set of processors.
    pthread_attr_t a;
    cpu_set_t none;
    CPU_ZERO(&none);
    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_setaffinity_np(&a, sizeof none, &none));
    pthread_t t;
    CHECK_RC(pthread_create(&t, &a, must_not_run, NULL), EINVAL);
    CHECK_OK(pthread_attr_destroy(&a));
    CHECK_EQ(ran, 0);
    printf("ran %d, fine %d\n", ran, fine);
    return 0;
}
