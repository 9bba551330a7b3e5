// expect: fibers>=8
// Stacks that the program brings along: locals lie inside, nothing outside is touched, the memory
// can be used again and unmapped after join.
#include <stdlib.h>
#include <sys/mman.h>

#include "switching.h"

enum { kSize = (128 << 10) - 40, kMargin = 64 << 10 };  // told to the byte

struct area {
    char* base;
    char* stack;
};

static long depth(int n) {
    volatile char pad[256];
    pad[0] = (char)n;
    return n == 0 ? 0 : 1 + depth(n - 1) + (pad[0] - (char)n);
}

static void* body(void* argument) {
    struct area* a = argument;
    char local;
    CHECK(&local >= a->stack && &local < a->stack + kSize);
    move_about(8);
    CHECK_EQ(depth(100), 100);
    pthread_attr_t at;
    void* low;
    size_t size;
    CHECK_OK(pthread_getattr_np(pthread_self(), &at));
    CHECK_OK(pthread_attr_getstack(&at, &low, &size));
    CHECK_EQ(low, a->stack);
    CHECK_EQ(size, kSize);
    CHECK_OK(pthread_attr_destroy(&at));
    return &a->stack[0];
}

int main(void) {
    int used = 0;
    for (int round = 0; round < 3; round++) {
        struct area areas[8];
        pthread_t t[8];
        for (int i = 0; i < 8; i++) {
            areas[i].base = mmap(NULL, kSize + 2 * kMargin, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            CHECK(areas[i].base != MAP_FAILED);
            areas[i].stack = areas[i].base + kMargin;
            memset(areas[i].base, 0x5a, kMargin);
            memset(areas[i].stack + kSize, 0x5a, kMargin);
        }
        for (int again = 0; again < 3; again++) {
            for (int i = 0; i < 8; i++) {
                pthread_attr_t a;
                CHECK_OK(pthread_attr_init(&a));
                CHECK_OK(pthread_attr_setstack(&a, areas[i].stack, kSize));
                CHECK_OK(pthread_create(&t[i], &a, body, &areas[i]));
                CHECK_OK(pthread_attr_destroy(&a));
            }
            for (int i = 0; i < 8; i++) {
                CHECK_EQ(join(t[i]), areas[i].stack);
                used++;
            }
        }
        for (int i = 0; i < 8; i++) {
            for (int k = 0; k < kMargin; k++) {
                CHECK_EQ(areas[i].base[k], 0x5a);
                CHECK_EQ(areas[i].stack[kSize + k], 0x5a);
            }
            CHECK_EQ(munmap(areas[i].base, kSize + 2 * kMargin), 0);
        }
    }
    printf("used %d\n", used);
    return 0;
}
