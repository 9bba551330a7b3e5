// What malloc keeps for a thread does not outlive it for good: after threads have ended and others
// have been made and ended, no more memory is in use than one thread may keep.
#include <malloc.h>
#include <stdlib.h>

#include "twin.h"

enum { kThreads = 8, kEach = 7, kStep = 16, kLargest = 1024 };
static pthread_barrier_t together;

static void* fill(void* unused) {
    (void)unused;
    for (int size = 24; size <= kLargest; size += kStep) {
        char* taken[kEach];
        for (int i = 0; i < kEach; i++) {
            taken[i] = malloc((size_t)size);
            CHECK(taken[i] != NULL);
            taken[i][size - 1] = 1;
        }
        for (int i = 0; i < kEach; i++) free(taken[i]);
    }
    pthread_barrier_wait(&together);
    return NULL;
}

static void* nothing(void* unused) {
    (void)unused;
    pthread_barrier_wait(&together);
    return NULL;
}

static void run(void* (*body)(void*)) {
    pthread_t threads[kThreads];
    for (int i = 0; i < kThreads; i++) CHECK_OK(pthread_create(&threads[i], NULL, body, NULL));
    for (int i = 0; i < kThreads; i++) CHECK_OK(pthread_join(threads[i], NULL));
}

int main(void) {
    CHECK_OK(pthread_barrier_init(&together, NULL, kThreads));
    run(nothing);
    const size_t before = mallinfo2().uordblks;
    run(fill);
    run(nothing);
    const size_t after = mallinfo2().uordblks;
    // One thread's cache holds some 230 KB of these sizes.
    const size_t most = 4 * kEach * (kLargest / kStep) * (kLargest / 2);
    printf("in use: %s\n", after <= before + most ? "as before" : "more");
    if (after > before + most) printf("%zu, then %zu\n", before, after);
    return 0;
}
