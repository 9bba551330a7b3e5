// expect: fibers>=16
// Blocks are made by one thread, filled, handed on, checked and freed by others, while all move
// between kernel threads: contents stay, no block is given out twice.
#include <malloc.h>
#include <stdlib.h>

#include "switching.h"

enum { kThreads = 16, kRounds = 1500, kBoxes = 64 };
struct block {
    size_t size;
    unsigned char fill;
    unsigned char data[];
};
static struct block* box[kBoxes];
static int taken, given;

static void verify_and_free(struct block* b) {
    for (size_t i = 0; i < b->size; i++) CHECK_EQ(b->data[i], b->fill);
    memset(b->data, 0, b->size);
    free(b);
}

static void* body(void* argument) {
    unsigned seed = (unsigned)(long)argument * 7919 + 1;
    struct block* mine[8] = {0};
    for (int i = 0; i < kRounds; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned r = seed >> 8;
        size_t size = r % 50 == 0 ? 200000 : r % 1500;
        struct block* b = r % 5 == 0 ? calloc(1, sizeof *b + size) : malloc(sizeof *b + size);
        CHECK(b != NULL);
        b->size = size;
        b->fill = (unsigned char)r;
        memset(b->data, b->fill, size);
        if (r % 7 == 0) {
            struct block* bigger = realloc(b, sizeof *b + size + 100);
            CHECK(bigger != NULL);
            b = bigger;
        }
        struct block* other = __atomic_exchange_n(&box[r % kBoxes], b, __ATOMIC_ACQ_REL);
        bump(&given);
        if (other) {
            bump(&taken);
            int k = (int)(r / kBoxes % 8);
            if (mine[k]) verify_and_free(mine[k]);
            mine[k] = other;
        }
        if (i % 16 == 0) sched_yield();
        if (i % 128 == 0) move_about(4);
    }
    for (int k = 0; k < 8; k++)
        if (mine[k]) verify_and_free(mine[k]);
    return NULL;
}

int main(void) {
    pthread_t t[kThreads];
    for (int round = 0; round < 2; round++) {
        for (long i = 0; i < kThreads; i++) t[i] = spawn(body, (void*)(i + round * 100));
        for (int i = 0; i < kThreads; i++) join(t[i]);
    }
    int left = 0;
    for (int i = 0; i < kBoxes; i++)
        if (box[i]) {
            verify_and_free(box[i]);
            left++;
        }
    CHECK_EQ(taken + left, given);
    printf("given %d, lost %d\n", given, given - taken - left);
    return 0;
}
