// Its constructor and destructor take their time, until somebody else has run meanwhile.
#include <time.h>

extern volatile int turns;  // the program's

static void nap_until_others_ran(void) {
    const int before = turns;
    for (int i = 0; i < 1000 && (i < 3 || turns == before); i++) {
        struct timespec left = {0, 20000000};
        nanosleep(&left, NULL);
    }
}
int constructed;
__attribute__((constructor)) static void slow(void) {
    nap_until_others_ran();
    constructed = 1;
}
__attribute__((destructor)) static void slow_end(void) { nap_until_others_ran(); }
