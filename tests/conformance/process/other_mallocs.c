// The program's malloc is another one: jemalloc and tcmalloc preloaded before and after what is
// preloaded already.  The program executes itself with each; threads allocate, free each other's
// memory, use TLS, fork and go on.
// limit: 60
// expect: no-stats
#include "../../support/twin.h"
#include <dlfcn.h>

static __thread char* own;
static char* passed[8];
static pthread_barrier_t all_made;

static void* worker(void* arg) {
    int id = (int)(intptr_t)arg;
    long sum = 0;
    for (int i = 0; i < 2000; i++) {
        size_t size = (size_t)(i * 37 % 3000 + 1);
        char* p = malloc(size);
        p[0] = p[size - 1] = (char)i;
        own = realloc(p, size * 2);
        sum += own[0] == (char)i;
        if (i % 50 == 0) nap(1);
        free(own);
    }
    passed[id] = strdup("passed on");
    pthread_barrier_wait(&all_made);
    char* other = passed[(id + 1) % 8];
    sum += strcmp(other, "passed on") == 0;
    pthread_barrier_wait(&all_made);
    free(other);
    return (void*)sum;
}

static int work(const char* symbol) {
    long sum = 0;
    pthread_t t[8];
    CHECK(pthread_barrier_init(&all_made, NULL, 8) == 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 8; i++) t[i] = start(worker, (void*)(intptr_t)i);
        for (int i = 0; i < 8; i++) sum += (long)finish(t[i]);
    }
    pid_t child = fork();
    if (child == 0) _exit(finish(start(worker, NULL)) != NULL);  // alone at the barrier: never
    CHECK(kill(child, SIGKILL) == 0);
    reap(child);
    child = fork();
    if (child == 0) _exit(pingpong(2, 10) == 20 ? 7 : 1);
    CHECK(exited_with(reap(child), 7));
    return sum == 2 * 8 * 2001 && dlsym(RTLD_DEFAULT, symbol) != NULL ? 5 : 1;
}

int main(int argc, char** argv) {
    static const char* const libraries[][2] = {{"libjemalloc.so.2", "mallctl"},
                                               {"libtcmalloc_minimal.so.4", "tc_malloc"}};
    if (argc > 1) return work(argv[1]);
    const char* already = getenv("LD_PRELOAD");
    for (int i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "/usr/lib/x86_64-linux-gnu/%s", libraries[i][0]);
        if (access(path, R_OK) != 0) SKIP("libjemalloc2 or libtcmalloc-minimal4 is not installed");
        for (int after = 0; after < 2; after++) {
            char value[4096];
            if (already == NULL)
                snprintf(value, sizeof value, "%s", libraries[i][0]);
            else
                snprintf(value, sizeof value, "%s:%s", after ? already : libraries[i][0],
                         after ? libraries[i][0] : already);
            pid_t child = fork();
            if (child == 0) {
                setenv("LD_PRELOAD", value, 1);
                execl("/proc/self/exe", argv[0], libraries[i][1], NULL);
                _exit(9);
            }
            printf("%s %s: status %#x\n", libraries[i][0], after ? "after" : "before", reap(child));
        }
    }
    return 0;
}
