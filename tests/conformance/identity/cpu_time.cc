// CPU time of threads: the thread's own clock, another's by pthread_getcpuclockid, RUSAGE_THREAD,
// /proc.  What a thread used before anybody asked counts; threads that sleep use nothing; the clock
// of one does not move with another's work.
#include <sys/resource.h>
#include <sys/syscall.h>

#include <atomic>
#include <string>

#include "../../support/twin.h"

static double seconds(clockid_t clock) {
    timespec t;
    CHECK(clock_gettime(clock, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static double process_time() { return seconds(CLOCK_PROCESS_CPUTIME_ID); }

// Uses at least this much CPU time, by the process's clock when it works alone.
static void work(double amount) {
    const double until = process_time() + amount;
    volatile unsigned n = 0;
    while (process_time() < until)
        for (int i = 0; i < 20000; i++) n = n + 1;
}
static double rusage_time() {
    rusage u;
    CHECK(getrusage(RUSAGE_THREAD, &u) == 0);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}
static double proc_time(pid_t tid) {
    char text[512] = "";
    FILE* file = fopen(("/proc/self/task/" + std::to_string(tid) + "/stat").c_str(), "r");
    CHECK(file != nullptr && fgets(text, sizeof text, file) != nullptr);
    fclose(file);
    unsigned long user = 0, system = 0;
    CHECK(sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                 &user, &system) == 2);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void* works_first(void*) {
    work(0.3);
    const double own = seconds(CLOCK_THREAD_CPUTIME_ID);  // the first question of all
    CHECK(own > 0.2 && own <= process_time());
    CHECK(rusage_time() > 0.2 && proc_time(gettid()) > 0.15);
    const double before = seconds(CLOCK_THREAD_CPUTIME_ID);
    work(0.05);
    const double after = seconds(CLOCK_THREAD_CPUTIME_ID);
    CHECK(after - before > 0.03);
    return nullptr;
}

static sem_t told, leave;
static pid_t sleeper_id;
static void* sleeps(void*) {
    sleeper_id = gettid();
    sem_post(&told);
    wait_sem(&leave);
    const double own = seconds(CLOCK_THREAD_CPUTIME_ID);
    CHECK(own < 0.1);
    return nullptr;
}

static std::atomic<bool> stop;
static void* spins(void*) {
    while (!stop) {
    }
    return nullptr;
}

int main() {
    CHECK(sem_init(&told, 0, 0) == 0 && sem_init(&leave, 0, 0) == 0);
    work(0.1);
    finish(start(works_first, nullptr));
    puts("used before the first question");
    const double main_time = seconds(CLOCK_THREAD_CPUTIME_ID);
    CHECK(main_time > 0.05 && main_time < process_time() - 0.2);

    pthread_t sleeper = start(sleeps, nullptr);
    wait_sem(&told);
    clockid_t clock, mine;
    CHECK(pthread_getcpuclockid(sleeper, &clock) == 0);
    CHECK(pthread_getcpuclockid(pthread_self(), &mine) == 0);
    timespec resolution;
    CHECK(clock_getres(clock, &resolution) == 0 && resolution.tv_sec == 0);
    const double before = seconds(mine);
    work(0.1);
    CHECK(seconds(mine) - before > 0.05);
    CHECK(seconds(clock) < 0.05 && proc_time(sleeper_id) < 0.1);
    puts("a sleeper uses nothing");

    pthread_t hog = start(spins, nullptr);
    clockid_t its;
    CHECK(pthread_getcpuclockid(hog, &its) == 0);
    while (seconds(its) < 0.05) nap(1);
    stop = true;
    puts("a running thread's clock moves");
    finish(hog);
    CHECK(sem_post(&leave) == 0);
    finish(sleeper);
    errno = 0;
    timespec t;
    while (clock_gettime(clock, &t) == 0) nap(1);  // natively it is joined before it is gone
    CHECK(errno == EINVAL);
    puts("an ended thread has no clock");
    return 0;
}
