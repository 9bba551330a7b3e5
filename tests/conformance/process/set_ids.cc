// Ids set by one thread are every thread's, for what they may open too; limits set by one hold for
// all.
// limit: 20
// expect: no-stats
#include "../../support/twin.h"
#include <grp.h>
#include <sys/resource.h>
#include <sys/fsuid.h>
static sem_t go[4], done;
static int res[4];
static void* w(void* a) {
    int i = (int)(intptr_t)a;
    wait_sem(&go[i]);
    res[i] = (getuid() == 1000) + (geteuid() == 1000) + (getgid() == 1001) +
             (open("/etc/.pfiber-twin", O_RDONLY | O_CREAT, 0600) == -1 && errno == EACCES) +
             (getgroups(0, 0) == 1);
    sem_post(&done);
    return 0;
}
int main() {
    for (auto& s : go) sem_init(&s, 0, 0);
    sem_init(&done, 0, 0);
    pid_t p = fork();
    if (p == 0) {
        pthread_t t[4];
        for (long i = 0; i < 4; i++) t[i] = start(w, (void*)i);
        nap(5);
        finish(start(
            [](void*) -> void* {
                gid_t g[1] = {1001};
                CHECK(setgroups(1, g) == 0);
                CHECK(setresgid(1001, 1001, 1001) == 0);
                CHECK(setresuid(1000, 1000, 1000) == 0);
                return 0;
            },
            0));
        for (auto& s : go) sem_post(&s);
        for (auto x : t) finish(x);
        printf("%d %d %d %d\n", res[0], res[1], res[2], res[3]);
        printf("%d %d\n", setuid(0), errno);
        rlimit r = {20, 20};
        CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
        int n = 0;
        while (dup(0) >= 0) n++;
        printf("dups %d errno %d\n", n, errno);
        fflush(stdout);
        _exit(3);
    }
    printf("%#x\n", reap(p));
    return 0;
}
