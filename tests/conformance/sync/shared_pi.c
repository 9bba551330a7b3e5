// Process-shared priority-inheriting mutexes, plain and robust, fought over by threads of a parent
// and a forked child; the kernel knows the owner by its real thread id.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "switching.h"

enum { kThreads = 3, kRounds = 500 };
struct shared {
    pthread_mutex_t m[2];
    long counter[2];
    int holding;
};
static struct shared* s;

static void* body(void* unused) {
    (void)unused;
    for (int i = 0; i < kRounds; i++)
        for (int k = 0; k < 2; k++) {
            CHECK_OK(pthread_mutex_lock(&s->m[k]));
            long seen = s->counter[k];
            if (i % 32 == 0) sched_yield();
            s->counter[k] = seen + 1;
            CHECK_OK(pthread_mutex_unlock(&s->m[k]));
        }
    return NULL;
}
static void all(void) {
    pthread_t t[kThreads];
    for (int i = 0; i < kThreads; i++) t[i] = spawn(body, NULL);
    for (int i = 0; i < kThreads; i++) join(t[i]);
}
static void* locks(void* unused) {
    (void)unused;
    CHECK_OK(pthread_mutex_lock(&s->m[1]));
    bump(&s->holding);
    for (;;) pause();
    return NULL;
}

int main(void) {
    s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(s != MAP_FAILED);
    for (int k = 0; k < 2; k++) {
        pthread_mutexattr_t a;
        CHECK_OK(pthread_mutexattr_init(&a));
        CHECK_OK(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
        CHECK_OK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
        CHECK_OK(pthread_mutexattr_setrobust(&a, k ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED));
        CHECK_OK(pthread_mutex_init(&s->m[k], &a));
    }
    pid_t child = fork();
    CHECK_GE(child, 0);
    if (child == 0) {
        all();
        _exit(17);
    }
    all();
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 17);
    for (int k = 0; k < 2; k++) CHECK_EQ(s->counter[k], 2L * kThreads * kRounds);
    child = fork();
    CHECK_GE(child, 0);
    if (child == 0) join(spawn(locks, NULL));
    wait_for(&s->holding, 1);
    CHECK_RC(pthread_mutex_trylock(&s->m[1]), EBUSY);
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_RC(pthread_mutex_lock(&s->m[1]), EOWNERDEAD);
    CHECK_OK(pthread_mutex_consistent(&s->m[1]));
    CHECK_OK(pthread_mutex_unlock(&s->m[1]));
    printf("counters %ld %ld\n", s->counter[0], s->counter[1]);
    return 0;
}
