// Signals queued by system calls of a number that libc has no function for, and kill() with the id
// of a thread, reach the process or the thread with what was sent; beyond RLIMIT_SIGPENDING
// real-time signals are refused.
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "../../support/check.h"

static atomic_int handled, value, by_thread;
static pthread_t waiter;
static atomic_int waiter_id, ended;
static sem_t started, stop;

static void wait_for(sem_t* what) {
    while (sem_wait(what) != 0) CHECK_EQ(errno, EINTR);
}

static void on_signal(int number, siginfo_t* info, void* context) {
    (void)number, (void)context;
    value = info->si_value.sival_int;
    by_thread = pthread_equal(pthread_self(), waiter) != 0;
    handled++;
}

static void* wait_for_stop(void* argument) {
    waiter_id = (int)syscall(SYS_gettid);
    do {
        CHECK_EQ(sem_post(&started), 0);
        wait_for(&stop);
    } while (!ended);
    return argument;
}

static siginfo_t info_with(int number, int sent) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = number;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = sent;
    return info;
}

static void expect(const char* what, long answer, int count, int sent) {
    CHECK_EQ(answer, 0);
    while (handled < count) sched_yield();
    CHECK_EQ(value, sent);
    // The handler has returned: until then its thread blocks the signal, and the next one that is
    // for the process would be another's.
    CHECK_EQ(sem_post(&stop), 0);
    wait_for(&started);
    printf("%s: on the thread %d\n", what, by_thread);
}

int main(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    const int number = SIGRTMIN + 1;
    CHECK_EQ(sigaction(number, &action, NULL), 0);
    CHECK_EQ(sem_init(&started, 0, 0), 0);
    CHECK_EQ(sem_init(&stop, 0, 0), 0);
    CHECK_EQ(pthread_create(&waiter, NULL, wait_for_stop, NULL), 0);
    wait_for(&started);

    siginfo_t info = info_with(number, 1);
    expect("own process", syscall(SYS_rt_sigqueueinfo, getpid(), number, &info), 1, 1);
    info = info_with(number, 2);
    expect("id of a thread", syscall(SYS_rt_sigqueueinfo, waiter_id, number, &info), 2, 2);
    info = info_with(number, 3);
    expect("thread", syscall(SYS_rt_tgsigqueueinfo, getpid(), waiter_id, number, &info), 3, 3);
    expect("kill with the id of a thread", kill(waiter_id, number), 4, 0);
    CHECK_EQ(syscall(SYS_rt_tgsigqueueinfo, getpid(), 1 << 29, number, &info), -1);
    CHECK_EQ(errno, ESRCH);

    struct rlimit none = {0, 0}, before;
    CHECK_EQ(getrlimit(RLIMIT_SIGPENDING, &before), 0);
    none.rlim_max = before.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &none), 0);
    CHECK_EQ(syscall(SYS_tgkill, getpid(), waiter_id, number), -1);
    CHECK_EQ(errno, EAGAIN);
    CHECK_EQ(sigqueue(getpid(), number, (union sigval){.sival_int = 5}), -1);
    CHECK_EQ(errno, EAGAIN);
    CHECK_EQ(pthread_kill(waiter, number), EAGAIN);
    CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &before), 0);
    CHECK_EQ(handled, 4);

    ended = 1;
    CHECK_EQ(sem_post(&stop), 0);
    CHECK_EQ(pthread_join(waiter, NULL), 0);
    return 0;
}
