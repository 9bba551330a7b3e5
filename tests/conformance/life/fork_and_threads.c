// fork from a threaded process: the child has one thread, which can make new ones, exit in order
// and fork again; pthread_atfork handlers run in their order; the parent's threads go on.
#include <stdlib.h>
#include <sys/wait.h>

#include "switching.h"

static int stop, rounds, in_child;
static char order[16];
static void note(char c) {
    size_t n = strlen(order);
    if (n + 1 < sizeof order) order[n] = c;
}
static void prepare1(void) { note('a'); }
static void prepare2(void) { note('b'); }
static void parent1(void) { note('c'); }
static void parent2(void) { note('d'); }
static void child1(void) { note('e'); }
static void child2(void) { note('f'); }

static void* spins(void* unused) {
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        bump(&rounds);
        move_about(2);
    }
    return NULL;
}
static void* adds(void* n) {
    for (int i = 0; i < 20; i++) {
        sched_yield();
        usleep(1);
    }
    __atomic_add_fetch(&in_child, (int)(long)n, __ATOMIC_ACQ_REL);
    return n;
}

static int child_life(int generation) {
    pthread_t t[5];
    in_child = 0;
    for (long i = 0; i < 5; i++) t[i] = spawn(adds, (void*)(i + 1));
    for (int i = 0; i < 5; i++) CHECK_EQ((long)join(t[i]), i + 1);
    CHECK_EQ(in_child, 15);
    if (generation > 0) {
        pid_t child = fork();
        CHECK_GE(child, 0);
        if (child == 0) exit(child_life(generation - 1));
        int status;
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFEXITED(status));
        CHECK_EQ(WEXITSTATUS(status), 40 + generation - 1);
    }
    return 40 + generation;
}

static void fork_here(void) {
    memset(order, 0, sizeof order);
    fflush(stdout);
    pid_t child = fork();
    CHECK_GE(child, 0);
    if (child == 0) {
        CHECK_STR(order, "baef");
        exit(child_life(2));
    }
    CHECK_STR(order, "bacd");
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 42);
}
static void* forks(void* unused) {
    (void)unused;
    fork_here();
    return NULL;
}

int main(void) {
    CHECK_OK(pthread_atfork(prepare1, parent1, child1));
    CHECK_OK(pthread_atfork(prepare2, parent2, child2));
    fork_here();  // before any thread
    pthread_t t[2] = {spawn(spins, NULL), spawn(spins, NULL)};
    wait_for(&rounds, 10);
    for (int i = 0; i < 3; i++) {
        int before = __atomic_load_n(&rounds, __ATOMIC_ACQUIRE);
        fork_here();
        join(spawn(forks, NULL));
        wait_for(&rounds, before + 10);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    join(t[0]);
    join(t[1]);
    printf("%s\n", order);
    return 0;
}
