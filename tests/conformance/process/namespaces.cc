// A network namespace belongs to the thread that entered it: others, and threads created later from
// them, stay where they were.
// expect: native_fallbacks=0
#include "../../support/twin.h"

#include <sched.h>
#include <sys/stat.h>

static ino_t network_of_self() {
    struct stat s;
    // Through the calling thread's own entry; a fiber's is that of the kernel thread that runs it.
    CHECK(stat("/proc/thread-self/ns/net", &s) == 0);
    return s.st_ino;
}

static ino_t home;

static void* enters(void* may_fail) {
    if (unshare(CLONE_NEWNET) != 0) {
        *static_cast<int*>(may_fail) = errno;
        return nullptr;
    }
    const ino_t mine = network_of_self();
    CHECK(mine != home);
    for (int i = 0; i < 50; i++) {
        sched_yield();
        nap(1);
        CHECK(network_of_self() == mine);
    }
    return nullptr;
}

static void* stays(void*) {
    for (int i = 0; i < 100; i++) {
        sched_yield();
        if (i % 10 == 0) nap(1);
        CHECK(network_of_self() == home);
    }
    return nullptr;
}

int main() {
    home = network_of_self();
    int refused = 0;
    pthread_t other[4];
    for (int i = 0; i < 2; i++) other[i] = start(stays, nullptr);
    pthread_t t = start(enters, &refused);
    for (int i = 2; i < 4; i++) other[i] = start(stays, nullptr);
    finish(t);
    for (pthread_t one : other) finish(one);
    finish(start(stays, nullptr));
    puts(refused == 0 ? "own network" : "not permitted");
    return 0;
}
