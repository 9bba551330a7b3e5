// expect: fibers>=5
// pthread_getattr_np tells true bounds: a local variable lies inside, the lowest page inside is
// usable, size and guard are what was asked for, detach state is live; for main and for threads,
// seen by themselves and by others.
#include <sys/resource.h>

#include "switching.h"

static int ready, release_it, checked;

static void check_inside(pthread_t t, void* local, size_t at_least, size_t guard) {
    pthread_attr_t a;
    void* low;
    size_t size, g;
    CHECK_OK(pthread_getattr_np(t, &a));
    CHECK_OK(pthread_attr_getstack(&a, &low, &size));
    CHECK_OK(pthread_attr_getguardsize(&a, &g));
    CHECK((char*)local >= (char*)low && (char*)local < (char*)low + size);
    CHECK_GE(size, at_least);
    if (at_least != 0) {
        CHECK_LE(size, at_least + (64 << 10));
        CHECK_EQ(g, guard);
    }
    CHECK_OK(pthread_attr_destroy(&a));
    bump(&checked);
}

struct want {
    size_t stack, guard;
    void* local;
    pthread_t thread;
};

static void* body(void* argument) {
    struct want* w = argument;
    int local = 1;
    w->local = &local;
    w->thread = pthread_self();
    move_about(8);
    check_inside(pthread_self(), &local, w->stack, w->guard);
    bump(&ready);
    wait_for(&release_it, 1);
    check_inside(pthread_self(), &local, w->stack, w->guard);
    return NULL;
}

static void* touches_lowest(void* unused) {
    (void)unused;
    pthread_attr_t a;
    void* low;
    size_t size;
    CHECK_OK(pthread_getattr_np(pthread_self(), &a));
    CHECK_OK(pthread_attr_getstack(&a, &low, &size));
    int state;
    CHECK_OK(pthread_attr_getdetachstate(&a, &state));
    CHECK_EQ(state, PTHREAD_CREATE_JOINABLE);
    CHECK_OK(pthread_attr_destroy(&a));
    volatile char* lowest = low;
    lowest[0] = 5;
    CHECK_EQ(lowest[0], 5);
    move_about(4);
    CHECK_OK(pthread_detach(pthread_self()));
    CHECK_OK(pthread_getattr_np(pthread_self(), &a));
    CHECK_OK(pthread_attr_getdetachstate(&a, &state));
    CHECK_EQ(state, PTHREAD_CREATE_DETACHED);
    CHECK_OK(pthread_attr_destroy(&a));
    bump(&ready);
    return NULL;
}

int main(void) {
    int local = 0;
    check_inside(pthread_self(), &local, 0, 0);  // before any thread exists
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_STACK, &limit), 0);
    size_t page = (size_t)getpagesize();
    struct want wants[] = {{.stack = 64 << 10, .guard = page},
                           {.stack = 256 << 10, .guard = 0},
                           {.stack = 1 << 20, .guard = 4 * page},
                           {.stack = limit.rlim_cur, .guard = page}};
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        pthread_attr_t a;
        CHECK_OK(pthread_attr_init(&a));
        CHECK_OK(pthread_attr_setstacksize(&a, wants[i].stack));
        CHECK_OK(pthread_attr_setguardsize(&a, wants[i].guard));
        CHECK_OK(pthread_create(&t[i], i == 3 ? NULL : &a, body, &wants[i]));
        // glibc takes the guard out of the size; what it then reports is compared by the bounds
        // above.
        CHECK_OK(pthread_attr_destroy(&a));
    }
    wait_for(&ready, 4);
    for (int i = 0; i < 4; i++) check_inside(t[i], wants[i].local, wants[i].stack, wants[i].guard);
    check_inside(pthread_self(), &local, 0, 0);
    bump(&release_it);
    for (int i = 0; i < 4; i++) join(t[i]);
    spawn(touches_lowest, NULL);
    wait_for(&ready, 5);
    printf("checked %d\n", checked);
    return 0;
}
