// A child sends 100,000 signals to the process, faster than their slow handler takes them: handlers
// never nest (the signal is blocked while its handler runs, and natively until its frame is gone),
// the stack does not grow.  The same with two signals that
// block each other, and with queued ones, of which none is lost, and none of the process's own
// overtakes another.
// limit: 60
// expect: fibers>=2 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static const int bursts = 100000, queued = 20000;
static __thread uintptr_t lowest;
static __thread int depth, deepest;
static std::atomic<long> handled;
static std::atomic<int> last_value, disorder;
static std::atomic<long> sum, in_queue;
static std::atomic<bool> stop;
static sem_t ready;

static void measure() {
    char here;
    if (lowest == 0 || (uintptr_t)&here < lowest) lowest = (uintptr_t)&here;
    if (++depth > deepest) deepest = depth;
    for (volatile int i = 0; i < 3000; i = i + 1) {
    }
    depth--;
}
static void slow(int) {
    measure();
    handled++;
}
static void in_order(int, siginfo_t* info, void*) {
    measure();
    const int value = info->si_value.sival_int;
    if (value != last_value + 1) disorder++;
    last_value = value;
    sum += value;
    in_queue++;
}

static void* victim(void*) {
    sigset_t s;
    sigfillset(&s);
    sigdelset(&s, SIGUSR1);
    sigdelset(&s, SIGUSR2);
    sigdelset(&s, SIGRTMIN + 1);
    CHECK(pthread_sigmask(SIG_SETMASK, &s, nullptr) == 0);
    char here;
    sem_post(&ready);
    volatile unsigned long spin = 0;
    while (!stop) {
        spin = spin + 1;
        if (spin % 100000 == 0) sched_yield();
    }
    // Two frames at most would need some 12 KiB each (the kernel saves the vector registers).
    const uintptr_t used = lowest == 0 ? 0 : (uintptr_t)&here - lowest;
    printf("  deepest %d, stack %s\n", deepest, used < 100 * 1024 ? "small" : "GROWN");
    return nullptr;
}

template <class Send>
static void run(const char* name, bool from_child, long at_least, Send send) {
    handled = 0;
    last_value = disorder = 0;
    sum = in_queue = 0;
    stop = false;
    pthread_t t = start(victim, nullptr);
    wait_sem(&ready);
    const pid_t parent = getpid();
    const pid_t child = from_child ? fork() : 0;
    CHECK(child >= 0);
    if (child == 0) send(parent);
    if (child == 0 && from_child) _exit(0);
    if (from_child) CHECK(exited_with(reap(child), 0));
    while ((at_least == queued ? in_queue : handled) < at_least) nap(1);
    stop = true;
    if (at_least == queued) CHECK(in_queue == queued && sum == queued * (queued + 1L) / 2);
    finish(t);
    printf("%s: %d out of order\n", name, from_child ? 0 : (int)disorder);
}

int main() {
    CHECK(sem_init(&ready, 0, 0) == 0);
    struct sigaction a = {};
    a.sa_handler = slow;
    a.sa_flags = SA_RESTART;
    sigaddset(&a.sa_mask, SIGUSR1);
    sigaddset(&a.sa_mask, SIGUSR2);
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0 && sigaction(SIGUSR2, &a, nullptr) == 0);
    a.sa_sigaction = in_order;
    a.sa_flags |= SA_SIGINFO;
    CHECK(sigaction(SIGRTMIN + 1, &a, nullptr) == 0);
    sigset_t s;
    sigfillset(&s);
    sigdelset(&s, SIGQUIT);
    CHECK(pthread_sigmask(SIG_SETMASK, &s, nullptr) == 0);
    run("one signal", true, 1, [](pid_t to) {
        for (int i = 0; i < bursts; i++) kill(to, SIGUSR1);
    });
    run("two signals", true, 2, [](pid_t to) {
        for (int i = 0; i < bursts; i++) kill(to, i % 2 ? SIGUSR1 : SIGUSR2);
    });
    const auto queue = [](pid_t to) {
        for (int i = 1; i <= queued; i++) {
            sigval v;
            v.sival_int = i;
            while (sigqueue(to, SIGRTMIN + 1, v) != 0) sched_yield();
        }
    };
    run("queued signals", true, queued, queue);
    run("own queued signals", false, queued, queue);
    return 0;
}
