// Threads that sleep in inline system calls, which no hook sees.  There are more of them than
// processors, so the others are to get theirs while one sleeps.
// expect: missed_blocking>=20
// limit: 40
#include "switching.h"
#include "unseen.h"

int main(void) {
    sleep_unseen();
    return 0;
}
