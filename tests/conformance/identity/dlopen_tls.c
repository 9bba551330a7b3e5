// flags: -ldl
// module: gd_tls.c
// module: ie_tls.c
// expect: fibers>=10
// Libraries with TLS opened while threads exist: threads from before and after see the initial
// value, keep their own, and a closed and reopened library starts anew.
#include <dlfcn.h>

#include "switching.h"

enum { kBefore = 6, kAfter = 6 };
static long (*volatile gd_add)(long);
static long (*volatile ie_add)(long);
static int (*volatile gd_zero_count)(void);
static int (*volatile ie_second)(void);
static void* (*volatile gd_address)(void), *(*volatile ie_address)(void);
static int opened, ready, good;

static void uses(long n) {
    CHECK_EQ(ie_add(0), 42);
    CHECK_EQ(ie_second(), 7);
    CHECK_EQ(gd_add(0), 42);
    void *gd = gd_address(), *ie = ie_address();
    long expected = 42;
    for (int i = 0; i < 20; i++) {
        expected += n;
        CHECK_EQ(gd_add(n), expected);
        CHECK_EQ(ie_add(n), expected);
        move_about(4);
        CHECK_EQ(gd_address(), gd);
        CHECK_EQ(ie_address(), ie);
        CHECK_EQ(ie_second(), 7);
    }
    CHECK_EQ(gd_zero_count(), 21);
    bump(&good);
}

static void* before(void* n) {
    move_about(4);
    bump(&ready);
    wait_for(&opened, 1);
    uses((long)n);
    return NULL;
}
static void* after(void* n) {
    uses((long)n);
    return NULL;
}

// Opened again and again by threads, at the same time.
static void* reopens(void* unused) {
    (void)unused;
    for (int i = 0; i < 20; i++) {
        void* l = dlopen(MODULE_DIR "/gd_tls.so", RTLD_NOW);
        CHECK(l != NULL);
        long (*add)(long) = (long (*)(long))dlsym(l, "gd_add");
        CHECK_GE(add(1), 43);
        move_about(2);
        CHECK_EQ(dlclose(l), 0);
    }
    return NULL;
}

int main(void) {
    pthread_t t[kBefore + kAfter];
    for (long i = 0; i < kBefore; i++) t[i] = spawn(before, (void*)(i + 1));
    wait_for(&ready, kBefore);
    void *gd = dlopen(MODULE_DIR "/gd_tls.so", RTLD_NOW),
         *ie = dlopen(MODULE_DIR "/ie_tls.so", RTLD_NOW);
    if (!gd || !ie) check_failed(__FILE__, __LINE__, "dlopen", ": %s", dlerror());
    gd_add = (long (*)(long))dlsym(gd, "gd_add");
    gd_zero_count = (int (*)(void))dlsym(gd, "gd_zero_count");
    gd_address = (void* (*)(void))dlsym(gd, "gd_address");
    ie_add = (long (*)(long))dlsym(ie, "ie_add");
    ie_second = (int (*)(void))dlsym(ie, "ie_second");
    ie_address = (void* (*)(void))dlsym(ie, "ie_address");
    bump(&opened);
    for (long i = kBefore; i < kBefore + kAfter; i++) t[i] = spawn(after, (void*)(i + 1));
    uses(100);
    for (int i = 0; i < kBefore + kAfter; i++) join(t[i]);
    printf("good %d\n", good);

    CHECK_EQ(dlclose(gd), 0);
    gd = dlopen(MODULE_DIR "/gd_tls.so", RTLD_NOW);
    CHECK(gd != NULL);
    gd_add = (long (*)(long))dlsym(gd, "gd_add");
    printf("after reopening %ld\n", gd_add(0));
    CHECK_EQ(dlclose(gd), 0);
    for (int i = 0; i < 4; i++) t[i] = spawn(reopens, NULL);
    for (int i = 0; i < 4; i++) join(t[i]);
    return 0;
}
