// Its constructor and destructor take their time; others run meanwhile.
#include <stdlib.h>
#include <time.h>

static void nap(void) {
    struct timespec left = {0, 60000000};
    nanosleep(&left, NULL);
}
int constructed;
__attribute__((constructor)) static void slow(void) {
    nap();
    constructed = 1;
}
__attribute__((destructor)) static void slow_end(void) { nap(); }
