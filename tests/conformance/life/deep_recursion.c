// 4 MiB of recursion on a default stack (8 MiB by RLIMIT_STACK), in threads and in main, with moves
// at the bottom: every frame is intact on the way back.
#include "switching.h"

enum { kFrame = 1024, kDepth = 4 << 10 };
static int bottoms;

__attribute__((noinline)) static unsigned long down(int n) {
    volatile unsigned char frame[kFrame - 64];
    for (unsigned i = 0; i < sizeof frame; i += 64) frame[i] = (unsigned char)(n + (int)i);
    unsigned long below = 0;
    if (n > 0) {
        below = down(n - 1);
    } else {
        move_about(8);
        bump(&bottoms);
    }
    for (unsigned i = 0; i < sizeof frame; i += 64) CHECK_EQ(frame[i], (unsigned char)(n + (int)i));
    return below + frame[0];
}

static void* body(void* unused) {
    (void)unused;
    char here;
    pthread_attr_t a;
    void* low;
    size_t size;
    CHECK_OK(pthread_getattr_np(pthread_self(), &a));
    CHECK_OK(pthread_attr_getstack(&a, &low, &size));
    CHECK_OK(pthread_attr_destroy(&a));
    CHECK_GT(&here - (char*)low, 5 << 20);
    return (void*)down(kDepth);
}

int main(void) {
    pthread_t t[4];
    for (int i = 0; i < 4; i++) t[i] = spawn(body, NULL);
    unsigned long value = down(kDepth);
    for (int i = 0; i < 4; i++) CHECK_EQ(join(t[i]), value);
    printf("bottoms %d, value %lu\n", bottoms, value);
    return 0;
}
