// A pthread_t that was never set (0): libc answers ESRCH where it looks, and joins nobody.
#include "../../support/twin.h"

static void* back(void* argument) { return argument; }

static void ask_about_nobody(const char* who) {
    const struct timespec past = {0, 0};
    struct sched_param parameters = {0};
    clockid_t clock;
    int policy = 0;
    void* result = NULL;
    CHECK_RC(pthread_join(0, &result), ESRCH);
    CHECK_RC(pthread_timedjoin_np(0, &result, &past), ESRCH);
    CHECK_RC(pthread_clockjoin_np(0, &result, CLOCK_MONOTONIC, &past), ESRCH);
    CHECK_RC(pthread_detach(0), ESRCH);
    CHECK_RC(pthread_getcpuclockid(0, &clock), ESRCH);
    CHECK_RC(pthread_getschedparam(0, &policy, &parameters), ESRCH);
    CHECK_RC(pthread_setschedparam(0, SCHED_OTHER, &parameters), ESRCH);
    CHECK_RC(pthread_setschedprio(0, 0), ESRCH);
    printf("%s: nobody there\n", who);
}

static void* ask(void* who) {
    ask_about_nobody(who);
    return NULL;
}

int main(void) {
    pthread_t thread;
    CHECK_OK(pthread_create(&thread, NULL, back, NULL));
    CHECK_OK(pthread_join(thread, NULL));
    ask_about_nobody("main");
    CHECK_OK(pthread_create(&thread, NULL, ask, (void*)"thread"));
    CHECK_OK(pthread_join(thread, NULL));
    return 0;
}
