// alarm, setitimer and timer_create: SIGALRM interrupts main's read, interval timers come again,
// SIGEV_SIGNAL carries its value, SIGEV_THREAD calls in a thread, SIGEV_NONE only counts;
// disarming stops them.
#include "../../support/twin.h"
#include <atomic>
#include <sys/time.h>

static std::atomic<int> alarms, calls, last_value, values;
static sem_t seen;
static void on_alarm(int) {
    alarms++;
    sem_post(&seen);
}
static void on_value(int, siginfo_t* info, void*) {
    CHECK(info->si_code == SI_TIMER);
    last_value = info->si_value.sival_int;
    values++;
    sem_post(&seen);
}
static void on_thread(sigval v) {
    CHECK(v.sival_int == 31);
    calls++;
    CHECK(pingpong(1, 1) == 1);
    sem_post(&seen);
}
static void* other(void*) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    CHECK(pingpong(4, 20) == 80);
    return nullptr;
}

int main() {
    CHECK(sem_init(&seen, 0, 0) == 0);
    struct sigaction a = {};
    a.sa_handler = on_alarm;
    CHECK(sigaction(SIGALRM, &a, nullptr) == 0);
    pthread_t t = start(other, nullptr);
    int fds[2];
    CHECK(pipe(fds) == 0);
    char c;
    // The interval repeats it: the first may come before the read begins.
    itimerval it = {{0, 50000}, {0, 50000}}, old;
    CHECK(setitimer(ITIMER_REAL, &it, nullptr) == 0);
    CHECK(read(fds[0], &c, 1) == -1 && errno == EINTR && alarms >= 1);
    CHECK(getitimer(ITIMER_REAL, &old) == 0 && old.it_interval.tv_usec == 50000);
    int before = alarms;
    while (alarms < before + 3) wait_sem(&seen);
    it = {};
    CHECK(setitimer(ITIMER_REAL, &it, &old) == 0);
    before = alarms;
    nap(120);
    CHECK(alarms == before);
    CHECK(alarm(100) == 0 && alarm(0) == 100);
    finish(t);
    puts("itimer ok");

    // ITIMER_PROF and ITIMER_VIRTUAL count this process's own work.
    CHECK(sigaction(SIGPROF, &a, nullptr) == 0);
    alarms = 0;
    it = {{0, 10000}, {0, 10000}};
    CHECK(setitimer(ITIMER_PROF, &it, nullptr) == 0);
    volatile unsigned long spin = 0;
    while (alarms < 3) spin = spin + 1;
    it = {};
    CHECK(setitimer(ITIMER_PROF, &it, nullptr) == 0);
    puts("profiling timer ok");

    a.sa_flags = SA_SIGINFO | SA_RESTART;
    a.sa_sigaction = on_value;
    CHECK(sigaction(SIGRTMIN + 2, &a, nullptr) == 0);
    sigevent e = {};
    e.sigev_notify = SIGEV_SIGNAL;
    e.sigev_signo = SIGRTMIN + 2;
    e.sigev_value.sival_int = 29;
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &e, &timer) == 0);
    itimerspec s = {{0, 5000000}, {0, 5000000}};
    CHECK(timer_settime(timer, 0, &s, nullptr) == 0);
    while (values < 5) wait_sem(&seen);
    CHECK(last_value == 29 && timer_getoverrun(timer) >= 0 && timer_delete(timer) == 0);
    puts("SIGEV_SIGNAL ok");

    e = {};
    e.sigev_notify = SIGEV_THREAD;
    e.sigev_notify_function = on_thread;
    e.sigev_value.sival_int = 31;
    CHECK(timer_create(CLOCK_REALTIME, &e, &timer) == 0);
    CHECK(timer_settime(timer, 0, &s, nullptr) == 0);
    while (calls < 5) wait_sem(&seen);
    CHECK(timer_delete(timer) == 0);
    puts("SIGEV_THREAD ok");

    e = {};
    e.sigev_notify = SIGEV_NONE;
    CHECK(timer_create(CLOCK_MONOTONIC, &e, &timer) == 0);
    s = {{0, 0}, {50, 0}};
    CHECK(timer_settime(timer, 0, &s, nullptr) == 0);
    itimerspec left;
    CHECK(timer_gettime(timer, &left) == 0 && left.it_value.tv_sec >= 40 &&
          left.it_value.tv_sec <= 50);
    CHECK(timer_delete(timer) == 0);
    CHECK(timer_gettime(timer, &left) == -1 && errno == EINVAL);
    puts("SIGEV_NONE ok");
    return 0;
}
