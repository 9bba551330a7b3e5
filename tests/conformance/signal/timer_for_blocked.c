// A timer that notifies one thread, by a signal that this thread blocks and the others leave open
// at its default action, waits for that thread and ends nothing.
// expect: fibers>=3
#include "../../support/twin.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static void* waits(void* argument) {
    const int number = (int)(intptr_t)argument, wanted = SIGRTMIN + 4;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, wanted);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = wanted};
    e.sigev_value.sival_int = number;
    e.sigev_notify_thread_id = gettid();
    timer_t t;
    CHECK(timer_create(CLOCK_MONOTONIC, &e, &t) == 0);
    intptr_t right = 0;
    for (int i = 0; i < 10; i++) {
        struct itimerspec s = {.it_value = {0, 1000000}};
        CHECK(timer_settime(t, 0, &s, NULL) == 0);
        if (i % 2) usleep(5000);  // it comes while the thread does something else
        siginfo_t info;
        CHECK(sigwaitinfo(&set, &info) == wanted && info.si_code == SI_TIMER);
        right += info.si_value.sival_int == number;
    }
    CHECK(timer_delete(t) == 0);
    return (void*)right;
}

int main(void) {
    pthread_t t[3];
    intptr_t right = 0;
    for (intptr_t i = 0; i < 3; i++) CHECK(pthread_create(&t[i], NULL, waits, (void*)i) == 0);
    for (int i = 0; i < 3; i++) {
        void* result;
        CHECK(pthread_join(t[i], &result) == 0);
        right += (intptr_t)result;
    }
    printf("right %d\n", (int)right);
    return 0;
}
