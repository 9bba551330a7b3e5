// A FILE's lock belongs to the thread through blocking calls: nobody else gets in while it is held,
// it nests, ftrylockfile says so, and a FILE locked before the first thread existed stays locked.
#include <stdlib.h>

#include "switching.h"

static FILE* f;
static int held, tried, entered, in_critical;

static void* tries(void* unused) {
    (void)unused;
    int got = 0;
    while (__atomic_load_n(&held, __ATOMIC_ACQUIRE)) {
        int rc = ftrylockfile(f);
        // Looked at again after the try: it may have been let go in between.
        if (rc == 0) {
            got = __atomic_load_n(&held, __ATOMIC_ACQUIRE) &&
                  __atomic_load_n(&in_critical, __ATOMIC_ACQUIRE);
            funlockfile(f);
            if (got) return (void*)1;
        }
        bump(&tried);
        sched_yield();
    }
    return NULL;
}

static void* enters(void* n) {
    for (int i = 0; i < 30; i++) {
        flockfile(f);
        CHECK_EQ(bump(&in_critical), 1);
        CHECK_EQ(ftrylockfile(f), 0);
        for (const char* c = "line "; *c; c++) {
            CHECK(putc_unlocked(*c, f) != EOF);
            if (i % 8 == 0) usleep(1);
        }
        CHECK_GT(fprintf(f, "%ld %d\n", (long)n, i), 0);  // takes the lock again
        if (i % 4 == 0) move_about(4);
        funlockfile(f);
        CHECK_EQ(__atomic_sub_fetch(&in_critical, 1, __ATOMIC_ACQ_REL), 0);
        funlockfile(f);
        bump(&entered);
    }
    return NULL;
}

static void* blocked_by_main(void* unused) {
    (void)unused;
    CHECK_NE(ftrylockfile(f), 0);
    bump(&held);
    CHECK_GT(fprintf(f, "after main\n"), 0);
    bump(&entered);
    return NULL;
}

int main(void) {
    f = tmpfile();
    CHECK(f != NULL);
    flockfile(f);
    CHECK_GT(fprintf(f, "main first\n"), 0);
    pthread_t b = spawn(blocked_by_main, NULL);
    wait_for(&held, 1);
    likely_blocked();
    CHECK_EQ(__atomic_load_n(&entered, __ATOMIC_ACQUIRE), 0);
    CHECK_GT(fprintf(f, "main second\n"), 0);
    funlockfile(f);
    join(b);

    // Held through sleeps and pipes: nobody gets it.
    flockfile(f);
    __atomic_store_n(&in_critical, 1, __ATOMIC_RELEASE);
    pthread_t t[6];
    for (int i = 0; i < 3; i++) t[i] = spawn(tries, NULL);
    wait_for(&tried, 30);
    move_about(20);
    CHECK_EQ(ftrylockfile(f), 0);
    funlockfile(f);
    move_about(8);
    __atomic_store_n(&in_critical, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&held, 0, __ATOMIC_RELEASE);
    funlockfile(f);
    for (int i = 0; i < 3; i++) CHECK_EQ(join(t[i]), NULL);

    for (long i = 0; i < 6; i++) t[i] = spawn(enters, (void*)i);
    for (int i = 0; i < 6; i++) join(t[i]);
    rewind(f);
    char line[64];
    int lines = 0, next[6] = {0};
    for (int i = 0; i < 3; i++) {
        CHECK(fgets(line, sizeof line, f));
        printf("%s", line);
    }
    while (fgets(line, sizeof line, f)) {
        int n, i;
        CHECK_EQ(sscanf(line, "line %d %d\n", &n, &i), 2);
        CHECK_EQ(i, next[n]++);
        lines++;
    }
    printf("lines %d, entered %d\n", lines, entered);
    return 0;
}
