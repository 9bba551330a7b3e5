// Timers that belong to one thread: SIGEV_THREAD_ID reaches exactly that thread, CPU-time clocks
// of threads grow with their own work only, a CPU-time timer fires in a thread that works.
// expect: fibers>=6
#include "../../support/twin.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static __thread volatile int mine, number;
static volatile int wrong;
static sem_t ready, done;

static void handler(int sig, siginfo_t* info, void* context) {
    (void)sig;
    (void)context;
    if (info->si_code != SI_TIMER || info->si_value.sival_int != number) wrong++;
    mine++;
}
static long cpu_ms(clockid_t clock) {
    struct timespec t;
    CHECK(clock_gettime(clock, &t) == 0);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void* timed(void* arg) {
    number = (int)(intptr_t)arg;
    struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1};
    e.sigev_value.sival_int = number;
    e.sigev_notify_thread_id = gettid();
    timer_t t;
    CHECK(timer_create(CLOCK_MONOTONIC, &e, &t) == 0);
    struct itimerspec s = {{0, 2000000}, {0, 2000000}};
    CHECK(timer_settime(t, 0, &s, NULL) == 0);
    volatile unsigned long spin = 0;
    while (mine < 10) {
        if (number % 2)
            usleep(500);
        else
            spin++;
    }
    CHECK(timer_delete(t) == 0);
    return NULL;
}

static volatile int work_done;
static void* works(void* arg) {
    (void)arg;
    volatile unsigned long spin = 0;
    long begin = cpu_ms(CLOCK_THREAD_CPUTIME_ID);
    CHECK(begin < 1000);  // a new thread's clock starts at nothing
    while (cpu_ms(CLOCK_THREAD_CPUTIME_ID) < begin + 50) spin++;
    sem_post(&ready);
    wait_sem(&done);
    return (void*)cpu_ms(CLOCK_THREAD_CPUTIME_ID);
}
static void* idles(void* arg) {
    (void)arg;
    sem_post(&ready);
    wait_sem(&done);
    return (void*)cpu_ms(CLOCK_THREAD_CPUTIME_ID);
}

int main(void) {
    CHECK(sem_init(&ready, 0, 0) == 0 && sem_init(&done, 0, 0) == 0);
    struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(sigaction(SIGRTMIN + 1, &a, NULL) == 0);
    pthread_t t[4];
    for (int i = 0; i < 4; i++) t[i] = start(timed, (void*)(intptr_t)(i + 1));
    for (int i = 0; i < 4; i++) finish(t[i]);
    CHECK(wrong == 0 && mine == 0);
    puts("four thread-directed timers ok");
    pthread_t w = start(works, NULL), d = start(idles, NULL);
    wait_sem(&ready);
    wait_sem(&ready);
    clockid_t wc, dc;
    CHECK(pthread_getcpuclockid(w, &wc) == 0 && pthread_getcpuclockid(d, &dc) == 0);
    long worker = cpu_ms(wc), idle = cpu_ms(dc);
    CHECK(worker >= 50 && idle < 40);
    sem_post(&done);
    sem_post(&done);
    CHECK((long)finish(w) >= worker && (long)finish(d) < 40);
    puts("thread clocks count their own thread");
    return 0;
}
