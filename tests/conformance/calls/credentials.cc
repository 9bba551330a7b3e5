// Ids belong to the process: what one thread sets, all of them have, each spelling once.
// expect: fibers>=2 native_fallbacks=0 locked=0
#include "../../support/twin.h"

#include <grp.h>

static sem_t go, looked;
static const char* step;

// Another thread's view, as the kernel has it for the thread that runs it.
static void* watches(void*) {
    for (;;) {
        wait_sem(&go);
        if (step == nullptr) return nullptr;
        uid_t r, e, s;
        gid_t rg, eg, sg, groups[8];
        CHECK(getresuid(&r, &e, &s) == 0 && getresgid(&rg, &eg, &sg) == 0);
        const int n = getgroups(8, groups);
        printf("%s: %d %d %d, %d %d %d,", step, (int)r, (int)e, (int)s, (int)rg, (int)eg, (int)sg);
        for (int i = 0; i < n; i++) printf(" %d", (int)groups[i]);
        printf("\n");
        sem_post(&looked);
    }
}
static void show(const char* what) {
    step = what;
    sem_post(&go);
    if (what != nullptr) wait_sem(&looked);
}

static void* sets(void*) {
    const gid_t groups[3] = {101, 102, 103};
    CHECK(setgroups(3, groups) == 0);
    show("setgroups");
    CHECK_ERRNO(setgroups(1 << 20, groups), EINVAL);
    CHECK(initgroups("root", 77) == 0);
    gid_t got[64];
    int n = getgroups(64, got), has = 0;
    for (int i = 0; i < n; i++) has |= got[i] == 77;
    CHECK(has);
    CHECK(setgroups(1, groups) == 0);
    CHECK(setregid(11, (gid_t)-1) == 0);
    show("setregid");
    CHECK(setresgid(12, 13, 14) == 0);
    show("setresgid");
    CHECK(setegid(15) == 0);
    show("setegid");
    CHECK(setgid(16) == 0);
    show("setgid");
    CHECK(setreuid(21, 0) == 0);
    show("setreuid");
    CHECK(setresuid(0, 0, 22) == 0);
    show("setresuid");
    CHECK(seteuid(22) == 0);
    show("seteuid");
    // Without privileges now.
    CHECK_ERRNO(setgid(1), EPERM);
    CHECK_ERRNO(setegid(1), EPERM);
    CHECK_ERRNO(setregid(1, 1), EPERM);
    CHECK_ERRNO(setresgid(1, 1, 1), EPERM);
    CHECK_ERRNO(setgroups(1, groups), EPERM);
    CHECK_ERRNO(initgroups("root", 77), EPERM);
    CHECK_ERRNO(setuid(1), EPERM);
    CHECK_ERRNO(seteuid(1), EPERM);
    CHECK_ERRNO(setreuid(1, 1), EPERM);
    CHECK_ERRNO(setresuid(1, 1, 1), EPERM);
    CHECK(seteuid(0) == 0);
    CHECK(setuid(23) == 0);
    show("setuid");
    show(nullptr);
    return nullptr;
}

int main() {
    if (geteuid() != 0) SKIP("needs root");
    CHECK_OK(sem_init(&go, 0, 0));
    CHECK_OK(sem_init(&looked, 0, 0));
    const pthread_t watcher = start(watches, nullptr);
    finish(start(sets, nullptr));
    finish(watcher);
    return 0;
}
