// CPU affinity: of the attributes from the first instruction, set by the thread, set by others
// while it runs, waits or spins, told by every call, inherited by created threads, and seen by
// sched_getcpu.
#include <sched.h>
#include <sys/syscall.h>

#include <atomic>
#include <vector>

#include "../../support/twin.h"

static cpu_set_t whole;
static std::vector<int> cpus;

static cpu_set_t only(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return set;
}

// The kernel, asked for this thread by raw number, and every library call agree.
static bool is_on(int cpu) {
    cpu_set_t wanted = only(cpu), a, b, c;
    CHECK(sched_getaffinity(0, sizeof a, &a) == 0 && CPU_EQUAL(&a, &wanted));
    CHECK(sched_getaffinity(gettid(), sizeof b, &b) == 0 && CPU_EQUAL(&b, &wanted));
    CHECK(pthread_getaffinity_np(pthread_self(), sizeof c, &c) == 0 && CPU_EQUAL(&c, &wanted));
    for (int i = 0; i < 20; i++) {
        CHECK(sched_getcpu() == cpu);
        nap(i % 5 == 0);
    }
    return true;
}

static void* child(void* cpu) { return (void*)(intptr_t)is_on((int)(intptr_t)cpu); }

static void* by_attributes(void* arg) {
    const int cpu = (int)(intptr_t)arg;
    CHECK(sched_getcpu() == cpu);  // before anything else
    CHECK(is_on(cpu));
    CHECK(finish(start(child, arg)) != nullptr);  // inherited
    return (void*)1;
}

static std::atomic<int> stage;
static std::atomic<bool> seen;
static sem_t go;
static void* waits(void* arg) {
    wait_sem(&go);
    return (void*)(intptr_t)is_on((int)(intptr_t)arg);
}
static void* spins(void* arg) {
    const int cpu = (int)(intptr_t)arg;
    stage = 1;
    cpu_set_t set;
    for (;;) {  // no call that waits
        CPU_ZERO(&set);
        syscall(SYS_sched_getaffinity, 0, sizeof set, &set);
        if (CPU_COUNT(&set) == 1 && CPU_ISSET(cpu, &set)) break;
    }
    seen = true;
    return nullptr;
}
static void* sets_itself(void* arg) {
    const int cpu = (int)(intptr_t)arg;
    cpu_set_t set = only(cpu);
    CHECK(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0);
    CHECK(is_on(cpu));
    CHECK(finish(start(child, arg)) != nullptr);
    set = whole;
    CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_EQUAL(&set, &whole));
    return nullptr;
}
static void* free_one(void*) {
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    return (void*)(intptr_t)CPU_EQUAL(&set, &whole);
}

int main() {
    CHECK(sched_getaffinity(0, sizeof whole, &whole) == 0);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &whole)) cpus.push_back(i);
    CHECK(sem_init(&go, 0, 0) == 0);
    pthread_attr_t attr;
    CHECK(pthread_attr_init(&attr) == 0);
    int good = 0;
    std::vector<pthread_t> threads;
    for (int i = 0; i < 12; i++) {
        const int cpu = cpus[(size_t)i % cpus.size()];
        cpu_set_t set = only(cpu);
        CHECK(pthread_attr_setaffinity_np(&attr, sizeof set, &set) == 0);
        pthread_t t;
        CHECK(pthread_create(&t, &attr, by_attributes, (void*)(intptr_t)cpu) == 0);
        threads.push_back(t);
    }
    for (pthread_t t : threads) good += finish(t) != nullptr;
    printf("by attributes %d\n", good);

    good = 0;
    for (int i = 0; i < 6; i++) {
        const int cpu = cpus[(size_t)i % cpus.size()];
        pthread_t t = start(waits, (void*)(intptr_t)cpu);
        cpu_set_t set = only(cpu), told;
        CHECK(pthread_setaffinity_np(t, sizeof set, &set) == 0);
        CHECK(pthread_getaffinity_np(t, sizeof told, &told) == 0 && CPU_EQUAL(&told, &set));
        CHECK(sem_post(&go) == 0);
        good += finish(t) != nullptr;
    }
    printf("set by another %d\n", good);
    pthread_t spinner = start(spins, (void*)(intptr_t)cpus.back());
    while (stage != 1) sched_yield();
    cpu_set_t last = only(cpus.back());
    CHECK(pthread_setaffinity_np(spinner, sizeof last, &last) == 0);
    finish(spinner);
    printf("set while it spins %d\n", (int)seen.load());
    for (int cpu : cpus) finish(start(sets_itself, (void*)(intptr_t)cpu));
    printf("free threads %d\n", finish(start(free_one, nullptr)) != nullptr);

    cpu_set_t none;
    CPU_ZERO(&none);
    printf("empty %d %d", pthread_setaffinity_np(pthread_self(), sizeof none, &none), EINVAL);
    CHECK(pthread_attr_setaffinity_np(&attr, sizeof none, &none) == 0);
    pthread_t never;
    printf(" %d", pthread_create(&never, &attr, free_one, nullptr));
    errno = 0;
    printf(" nobody %d %d\n", sched_setaffinity(1 << 29, sizeof whole, &whole), errno == ESRCH);
    return 0;
}
