// flags: -frounding-math -lm
// The sticky exception flags of floating point are the thread's: one that divides by zero all the
// time does not set them for one that never does, nor does a move clear them.
#include <fenv.h>

#include "switching.h"

static int checked, raised, stop;

static void* divides(void* unused) {
    (void)unused;
    volatile double zero = 0.0, result = 0.0;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        feclearexcept(FE_ALL_EXCEPT);
        result = 1.0 / zero;
        move_about(4);
        CHECK_NE(fetestexcept(FE_DIVBYZERO), 0);
        CHECK_EQ(fetestexcept(FE_OVERFLOW), 0);
        bump(&raised);
    }
    return result > 0 ? (void*)1 : NULL;
}

static void* stays_clean(void* unused) {
    (void)unused;
    feclearexcept(FE_ALL_EXCEPT);
    for (int i = 0; i < 100; i++) {
        move_about(4);
        CHECK_EQ(fetestexcept(FE_DIVBYZERO | FE_INVALID), 0);
        bump(&checked);
    }
    return NULL;
}

int main(void) {
    pthread_t t[8];
    for (int i = 0; i < 8; i++) t[i] = spawn(i % 2 ? divides : stays_clean, NULL);
    for (int i = 0; i < 8; i += 2) join(t[i]);
    wait_for(&raised, 50);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 1; i < 8; i += 2) CHECK_EQ(join(t[i]), 1);
    printf("checked %d\n", checked);
    return 0;
}
