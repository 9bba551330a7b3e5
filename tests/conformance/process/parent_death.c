// Children that ask for a signal at their parent's death get it when the thread that made them
// ends, not when a kernel thread that only happened to run that call is no longer needed.  Eight
// spawns are held up inside the call at once by a FIFO, so that each keeps a kernel thread.
// limit: 30
// env: PFIBER_SPARE_MS=20
// expect: fibers>=8 native_fallbacks=0
#include "../../support/twin.h"
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/stat.h>

extern char** environ;
static char folder[] = "/tmp/pfiber-twin-XXXXXX";
static char fifo[64];
static int hold[2], done[2];
static pid_t children[8];

static void* spawner(void* arg) {
    int i = (int)(intptr_t)arg;
    posix_spawn_file_actions_t actions;
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_addopen(&actions, 9, fifo, O_RDONLY, 0) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, hold[0], 0) == 0);
    CHECK(posix_spawn_file_actions_addclose(&actions, hold[1]) == 0);
    char* args[] = {(char*)"parent_death", (char*)"child", NULL};
    CHECK(posix_spawn(&children[i], "/proc/self/exe", &actions, NULL, args, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    char c;
    CHECK(take(done[0], &c, 1) == 1);
    return NULL;
}

int main(int argc, char** argv) {
    (void)argv;
    if (argc > 1) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        char c;
        _exit(read(0, &c, 1) == 0 ? 5 : 6);
    }
    CHECK(mkdtemp(folder) != NULL);
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    CHECK(mkfifo(fifo, 0600) == 0 && pipe(hold) == 0 && pipe(done) == 0);
    pthread_t t[8];
    for (int i = 0; i < 8; i++) t[i] = start(spawner, (void*)(intptr_t)i);
    nap(300);
    int writer = open(fifo, O_WRONLY);
    CHECK(writer >= 0);
    nap(700);
    CHECK(close(hold[1]) == 0);
    int right = 0;
    for (int i = 0; i < 8; i++) {
        while (__atomic_load_n(&children[i], __ATOMIC_ACQUIRE) == 0) nap(1);
        right += exited_with(reap(children[i]), 5);
    }
    printf("%d children saw the end of file\n", right);
    put(done[1], "12345678", 8);
    for (int i = 0; i < 8; i++) finish(t[i]);
    close(writer);
    unlink(fifo);
    rmdir(folder);
    return 0;
}
