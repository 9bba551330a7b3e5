// expect: fibers>=10
// Key destructors: they run in rounds while values come back, at most
// PTHREAD_DESTRUCTOR_ITERATIONS; a deleted key's destructor does not run; NULL values are skipped;
// a destructor may block and may set other keys. 70 keys reach glibc's second-level blocks.
#include <limits.h>

#include "switching.h"

enum { kKeys = 70, kThreads = 10 };
static pthread_key_t keys[kKeys], stubborn, chain, deleted, quiet;
static int plain_runs, stubborn_runs, chain_runs, deleted_runs;

static void plain(void* v) {
    CHECK(v != NULL);
    bump(&plain_runs);
}
static void comes_back(void* v) {
    CHECK_EQ(pthread_getspecific(stubborn), NULL);  // cleared before the call
    move_about(2);
    bump(&stubborn_runs);
    CHECK_OK(pthread_setspecific(stubborn, v));
}
static void sets_chain(void* v) {
    bump(&chain_runs);
    if ((long)v > 1) CHECK_OK(pthread_setspecific(chain, (void*)((long)v - 1)));
}
static void never(void* v) {
    (void)v;
    bump(&deleted_runs);
}

static void* body(void* n) {
    long base = (long)n * 1000;
    for (int i = 0; i < kKeys; i++) {
        CHECK_EQ(pthread_getspecific(keys[i]), NULL);
        CHECK_OK(pthread_setspecific(keys[i], (void*)(base + i + 1)));
    }
    CHECK_OK(pthread_setspecific(stubborn, (void*)1));
    CHECK_OK(pthread_setspecific(chain, (void*)3));
    CHECK_OK(pthread_setspecific(quiet, (void*)1));
    for (int round = 0; round < 10; round++) {
        move_about(4);
        for (int i = 0; i < kKeys; i++) CHECK_EQ(pthread_getspecific(keys[i]), base + i + 1);
    }
    for (int i = 0; i < kKeys; i += 7) CHECK_OK(pthread_setspecific(keys[i], NULL));
    if ((long)n % 2) pthread_exit(NULL);
    return NULL;
}

int main(void) {
    for (int i = 0; i < kKeys; i++) CHECK_OK(pthread_key_create(&keys[i], plain));
    CHECK_OK(pthread_key_create(&stubborn, comes_back));
    CHECK_OK(pthread_key_create(&chain, sets_chain));
    CHECK_OK(pthread_key_create(&quiet, NULL));
    CHECK_OK(pthread_key_create(&deleted, never));
    CHECK_OK(pthread_setspecific(deleted, &deleted));
    CHECK_OK(pthread_key_delete(deleted));
    CHECK_RC(pthread_key_delete(deleted), EINVAL);
    CHECK_RC(pthread_setspecific(deleted, &deleted), EINVAL);
    CHECK_EQ(pthread_getspecific(deleted), NULL);
    CHECK_OK(pthread_setspecific(keys[0], &keys));  // main's, set before any thread exists
    pthread_t t[kThreads];
    for (long i = 0; i < kThreads; i++) t[i] = spawn(body, (void*)i);
    for (int i = 0; i < kThreads; i++) join(t[i]);
    CHECK_EQ(pthread_getspecific(keys[0]), &keys);
    CHECK_EQ(stubborn_runs, kThreads * PTHREAD_DESTRUCTOR_ITERATIONS);
    // All keys of the process can be had, and no more.
    int made = 0, rc;
    static pthread_key_t rest[PTHREAD_KEYS_MAX];
    while ((rc = pthread_key_create(&rest[made], NULL)) == 0) made++;
    CHECK_RC(rc, EAGAIN);
    for (int i = 0; i < made; i++) CHECK_OK(pthread_key_delete(rest[i]));
    printf("plain %d, stubborn %d, chain %d, deleted %d\n", plain_runs, stubborn_runs, chain_runs,
           deleted_runs);
    return 0;
}
