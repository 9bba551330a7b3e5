// /proc/self/fd, by whatever path, lists what the program opened and nothing else, while threads
// run and wait for descriptors.
// expect: fibers>=4
#include "../../support/twin.h"
#include <dirent.h>

enum { kWaiting = 4 };
static int pipes[kWaiting][2];

static int is_open_here(int fd) { return fcntl(fd, F_GETFD) != -1; }

// Entries, and how many of them no call knows.
static void count(const char* path, int* entries, int* unknown) {
    DIR* directory = opendir(path);
    CHECK(directory);
    *entries = *unknown = 0;
    struct dirent* entry;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        *entries += 1;
        *unknown += !is_open_here(atoi(entry->d_name));
    }
    // A rewound listing is the same.
    rewinddir(directory);
    int again = 0;
    while (readdir(directory) != NULL) again++;
    CHECK_EQ(again, *entries + 2);
    CHECK(closedir(directory) == 0);
}

static void* waits(void* arg) {
    char byte;
    CHECK(read(*(int*)arg, &byte, 1) == 1);
    return NULL;
}

int main(void) {
    static const char* const paths[] = {"/proc/self/fd", "/proc/self/fdinfo", "/dev/fd",
                                        "/proc/thread-self/fd"};
    enum { kPaths = sizeof paths / sizeof paths[0] };
    int before[kPaths], unknown;
    for (int i = 0; i < kWaiting; i++) CHECK(pipe(pipes[i]) == 0);
    for (int i = 0; i < kPaths; i++) {
        count(paths[i], &before[i], &unknown);
        CHECK_EQ(unknown, 0);
    }
    pthread_t threads[kWaiting];
    for (int i = 0; i < kWaiting; i++) threads[i] = start(waits, &pipes[i][0]);
    nap(5);
    for (int i = 0; i < kPaths; i++) {
        int now;
        count(paths[i], &now, &unknown);
        printf("%s: %+d, unknown %d\n", paths[i], now - before[i], unknown);
    }
    for (int i = 0; i < kWaiting; i++) CHECK(write(pipes[i][1], "x", 1) == 1);
    for (int i = 0; i < kWaiting; i++) finish(threads[i]);
    return 0;
}
