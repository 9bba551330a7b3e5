// Robust process-shared mutexes: a child that is killed holding them (locked by its main thread or
// another) is seen by the parent as EOWNERDEAD, before and while the parent waits.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "switching.h"

struct shared {
    pthread_mutex_t m[2];
    int held;
};
static struct shared* s;

static void* locks_all(void* unused) {
    (void)unused;
    for (int i = 0; i < 2; i++) CHECK_OK(pthread_mutex_lock(&s->m[i]));
    bump(&s->held);
    for (;;) pause();
    return NULL;
}

static void* waits_for_dead(void* mutex) {
    CHECK_RC(pthread_mutex_lock(mutex), EOWNERDEAD);
    CHECK_OK(pthread_mutex_consistent(mutex));
    CHECK_OK(pthread_mutex_unlock(mutex));
    return (void*)1;
}

static pid_t child_holding(int from_thread) {
    s->held = 0;
    pid_t child = fork();
    CHECK_GE(child, 0);
    if (child == 0) {
        if (from_thread) join(spawn(locks_all, NULL));
        locks_all(NULL);
    }
    wait_for(&s->held, 1);
    return child;
}

int main(void) {
    s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(s != MAP_FAILED);
    pthread_mutexattr_t a;
    CHECK_OK(pthread_mutexattr_init(&a));
    CHECK_OK(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
    CHECK_OK(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
    CHECK_OK(pthread_mutex_init(&s->m[0], &a));
    CHECK_OK(pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE));
    CHECK_OK(pthread_mutex_init(&s->m[1], &a));
    long dead = 0;
    for (int round = 0; round < 6; round++) {
        pid_t child = child_holding(round % 2);
        for (int i = 0; i < 2; i++) CHECK_RC(pthread_mutex_trylock(&s->m[i]), EBUSY);
        pthread_t w[2];
        if (round >= 2) {
            for (int i = 0; i < 2; i++) w[i] = spawn(waits_for_dead, &s->m[i]);
            likely_blocked();
        }
        CHECK_EQ(kill(child, SIGKILL), 0);
        int status;
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        for (int i = 0; i < 2; i++)
            dead += round >= 2 ? (long)join(w[i]) : (long)waits_for_dead(&s->m[i]);
        for (int i = 0; i < 2; i++) {
            CHECK_OK(pthread_mutex_lock(&s->m[i]));
            CHECK_OK(pthread_mutex_unlock(&s->m[i]));
        }
    }
    printf("dead %ld\n", dead);
    return 0;
}
