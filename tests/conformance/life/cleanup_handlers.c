// pthread_cleanup_push in C: handlers run innermost first on pthread_exit and on cancellation, not
// after pop(0), once on pop(1); the condition's mutex is held again when a cancelled waiter's
// handler runs.
#include "switching.h"

static __thread char trace[64];
static __thread int traced;
static char seen[4][64];
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static int waiting, unlocked;

static void note(void* letter) {
    move_about(2);
    trace[traced++] = *(char*)letter;
}
static void keep(void* slot) { memcpy(slot, trace, sizeof trace); }
static void unlock(void* mutex) {
    CHECK_RC(pthread_mutex_trylock(mutex), EBUSY);
    CHECK_OK(pthread_mutex_unlock(mutex));
    bump(&unlocked);
}

__attribute__((noinline)) static void inner(int how) {
    pthread_cleanup_push(note, "c");
    pthread_cleanup_push(note, "d");
    pthread_cleanup_pop(0);
    pthread_cleanup_push(note, "e");
    pthread_cleanup_pop(1);
    if (how == 0) pthread_exit((void*)5);
    if (how == 1) {
        CHECK_OK(pthread_mutex_lock(&m));
        pthread_cleanup_push(unlock, &m);
        bump(&waiting);
        for (;;) CHECK_OK(pthread_cond_wait(&never, &m));
        pthread_cleanup_pop(0);
    }
    if (how == 2) {
        bump(&waiting);
        for (;;) usleep(1000);
    }
    pthread_cleanup_pop(1);
}

static void* body(void* argument) {
    int how = (int)(long)argument;
    pthread_cleanup_push(keep, seen[how]);
    pthread_cleanup_push(note, "a");
    pthread_cleanup_push(note, "b");
    inner(how);
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(1);
    return (void*)6;
}

int main(void) {
    CHECK_EQ((long)join(spawn(body, (void*)0)), 5);
    for (int how = 1; how <= 2; how++) {
        waiting = 0;
        pthread_t t = spawn(body, (void*)(long)how);
        wait_for(&waiting, 1);
        likely_blocked();
        CHECK_OK(pthread_cancel(t));
        CHECK_EQ(join(t), PTHREAD_CANCELED);
    }
    CHECK_EQ((long)join(spawn(body, (void*)3)), 6);
    CHECK_EQ(unlocked, 1);
    for (int i = 0; i < 4; i++) printf("%s\n", seen[i]);
    return 0;
}
