// flags: -frounding-math -lm
// expect: fibers>=8
// The rounding mode of a thread is its own, for SSE and x87, inherited at creation and kept through
// moves.
#include <fenv.h>

#include "switching.h"

static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
static int verified;

// -1, 0 or 1: which way 1/3 and -1/3 are rounded together tells the mode.
static int observed(void) {
    volatile double one = 1.0, three = 3.0;
    volatile long double long_one = 1.0L, long_three = 3.0L;
    volatile double up = one / three, down = -one / three;
    volatile long double long_up = long_one / long_three, long_down = -long_one / long_three;
    const double near = 0x1.5555555555555p-2, above = 0x1.5555555555556p-2;
    int sse = up == above      ? FE_UPWARD
              : down == -above ? FE_DOWNWARD
              : up == near     ? FE_TONEAREST
                               : -1;
    int x87 = long_up > -long_down ? FE_UPWARD : long_up < -long_down ? FE_DOWNWARD : FE_TONEAREST;
    CHECK_EQ(sse, x87);
    return sse;
}

static void* body(void* argument) {
    long n = (long)argument;
    CHECK_EQ(fegetround(), FE_UPWARD);  // main's at the time of creation
    for (int i = 0; i < 40; i++) {
        int mode = modes[(n + i / 10) % 4];
        CHECK_EQ(fesetround(mode), 0);
        move_about(4);
        CHECK_EQ(fegetround(), mode);
        // 1/3 lies above its nearest double, so truncation and nearest look alike here.
        CHECK_EQ(observed(), mode == FE_TOWARDZERO ? FE_TONEAREST : mode);
        bump(&verified);
    }
    return NULL;
}

int main(void) {
    CHECK_EQ(fesetround(FE_UPWARD), 0);
    pthread_t t[8];
    for (long i = 0; i < 8; i++) t[i] = spawn(body, (void*)i);
    for (int i = 0; i < 8; i++) {
        join(t[i]);
        CHECK_EQ(fegetround(), FE_UPWARD);
    }
    printf("verified %d\n", verified);
    return 0;
}
