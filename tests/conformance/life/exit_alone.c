// pthread_exit of a process's only thread: in a fork's child on the forking thread's stack, in one
// forked before any thread was made, in a child whose start routine
// returns, and in main at the end.  Destructors and atexit handlers run,
// the status is 0.
// expect: no-stats
#include <stdlib.h>
#include <sys/wait.h>

#include "../../support/twin.h"

static pthread_key_t key;
static int is_last;

static void say(void) {
    if (is_last) printf("atexit\n");
}
static void destroyed(void* value) { printf("destructor %s\n", (const char*)value); }

static void exit_in_child(const char* name) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        is_last = 1;
        CHECK_OK(pthread_setspecific(key, name));
        pthread_exit(NULL);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    printf("%s: %d\n", name, status);
}

static void* thread(void* unused) {
    exit_in_child("of a thread");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        is_last = 1;
        CHECK_OK(pthread_setspecific(key, "of a start routine"));
        return unused;
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    printf("returned: %d\n", status);
    return unused;
}

int main(void) {
    CHECK_OK(pthread_key_create(&key, destroyed));
    CHECK(atexit(say) == 0);
    exit_in_child("of a process without threads");
    pthread_t id;
    CHECK_OK(pthread_create(&id, NULL, thread, NULL));
    CHECK_OK(pthread_join(id, NULL));
    is_last = 1;
    pthread_exit(NULL);
}
