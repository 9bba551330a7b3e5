// Scheduling calls of a thread about itself and others: policy, priority, affinity, processor
// number, CPU clocks that count only their own thread's work.
#include "switching.h"

static int ready, release_it, busy_done;
static pthread_t idle_thread, busy_thread;

static long long cpu_ns(pthread_t t) {
    clockid_t c;
    CHECK_OK(pthread_getcpuclockid(t, &c));
    struct timespec now = clock_now(c);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void check_self(void) {
    int policy = -1;
    struct sched_param p = {.sched_priority = -1};
    CHECK_OK(pthread_getschedparam(pthread_self(), &policy, &p));
    CHECK_EQ(policy, SCHED_OTHER);
    CHECK_EQ(p.sched_priority, 0);
    CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_OTHER, &p));
    CHECK_OK(pthread_setschedprio(pthread_self(), 0));
    p.sched_priority = 5;
    CHECK_RC(pthread_setschedparam(pthread_self(), SCHED_OTHER, &p), EINVAL);
    cpu_set_t by_pthread, by_sched;
    CHECK_OK(pthread_getaffinity_np(pthread_self(), sizeof by_pthread, &by_pthread));
    CHECK_EQ(sched_getaffinity(0, sizeof by_sched, &by_sched), 0);
    CHECK(CPU_EQUAL(&by_pthread, &by_sched));
    CHECK(CPU_ISSET(sched_getcpu(), &by_pthread));
}

static void* idles(void* unused) {
    (void)unused;
    check_self();
    bump(&ready);
    wait_for(&release_it, 1);
    return NULL;
}
static void* computes(void* unused) {
    (void)unused;
    check_self();
    struct timespec start = clock_now(CLOCK_THREAD_CPUTIME_ID), now;
    volatile unsigned long n = 0;
    do {
        for (int i = 0; i < 100000; i++) n++;
        sched_yield();
        now = clock_now(CLOCK_THREAD_CPUTIME_ID);
    } while ((now.tv_sec - start.tv_sec) * 1000000000LL + now.tv_nsec - start.tv_nsec < 150000000);
    bump(&busy_done);
    wait_for(&release_it, 1);
    return NULL;
}

int main(void) {
    check_self();
    idle_thread = spawn(idles, NULL);
    wait_for(&ready, 1);
    busy_thread = spawn(computes, NULL);
    wait_for(&busy_done, 1);
    int policy;
    struct sched_param p;
    CHECK_OK(pthread_getschedparam(busy_thread, &policy, &p));
    CHECK_EQ(policy, SCHED_OTHER);
    cpu_set_t set;
    CHECK_OK(pthread_getaffinity_np(idle_thread, sizeof set, &set));
    CHECK_OK(pthread_setaffinity_np(idle_thread, sizeof set, &set));
    CHECK_GE(cpu_ns(busy_thread), 150000000);
    // The idle one woke now and then, and must not be charged for the other's work.
    CHECK_LT(cpu_ns(idle_thread), cpu_ns(busy_thread) / 2);
    bump(&release_it);
    join(idle_thread);
    join(busy_thread);
    check_self();
    printf("ok\n");
    return 0;
}
