// mlockall before or after the first thread: no more is locked than a few stacks.
// usage: locked_memory before|after
#include "twin.h"

#include <sys/mman.h>

static long status_kib(const char* name) {
    FILE* file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    char line[256];
    long value = -1;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0) value = atol(line + strlen(name) + 1);
    fclose(file);
    return value;
}

static void* echo(void* arg) {
    CHECK_EQ(pingpong(1, 3), 3);
    return arg;
}

int main(int argc, char** argv) {
    CHECK_EQ(argc, 2);
    const int before = strcmp(argv[1], "before") == 0;
    if (before) CHECK_EQ(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
    for (int i = 0; i < 3; i++) finish(start(echo, NULL));
    if (!before) CHECK_EQ(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
    for (int i = 0; i < 3; i++) finish(start(echo, NULL));
    // Two stacks of 8 MiB at a time, libc's arenas, and what the runtime keeps.
    CHECK_GT(status_kib("VmLck"), 0);
    CHECK_LT(status_kib("VmRSS"), 120 * 1024);
    printf("%s\n", argv[1]);
    return 0;
}
