// exit: 5
// main returns while detached and joinable threads are still running: same as exit(5).
#include <stdlib.h>

#include "switching.h"

static int started;
static void* runs(void* unused) {
    (void)unused;
    bump(&started);
    for (;;) usleep(100);
    return NULL;
}

int main(void) {
    CHECK_OK(pthread_detach(spawn(runs, NULL)));
    spawn(runs, NULL);
    wait_for(&started, 2);
    printf("started %d\n", started);
    return 5;
}
