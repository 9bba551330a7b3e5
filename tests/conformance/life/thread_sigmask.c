// A thread starts with its creator's signal mask, or with the attribute's, and keeps its own after.
#include <signal.h>

#include "switching.h"

static int kept;

static int blocked(int sig) {
    sigset_t now;
    CHECK_OK(pthread_sigmask(SIG_BLOCK, NULL, &now));
    return sigismember(&now, sig);
}

static void* body(void* expected) {
    CHECK_EQ(blocked(SIGUSR1), (long)expected & 1);
    CHECK_EQ(blocked(SIGUSR2), (long)expected >> 1);
    sigset_t mine;
    sigemptyset(&mine);
    sigaddset(&mine, SIGTERM);
    CHECK_OK(pthread_sigmask(SIG_SETMASK, &mine, NULL));
    for (int i = 0; i < 10; i++) {
        move_about(4);
        CHECK_EQ(blocked(SIGTERM), 1);
        CHECK_EQ(blocked(SIGUSR1), 0);
    }
    bump(&kept);
    return NULL;
}

int main(void) {
    sigset_t set;
    sigemptyset(&set);
    pthread_t t[3];
    t[0] = spawn(body, (void*)0);
    sigaddset(&set, SIGUSR1);
    CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
    t[1] = spawn(body, (void*)1);
    pthread_attr_t a;
    CHECK_OK(pthread_attr_init(&a));
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK_OK(pthread_attr_setsigmask_np(&a, &set));
    CHECK_OK(pthread_create(&t[2], &a, body, (void*)2));
    for (int i = 0; i < 3; i++) join(t[i]);
    CHECK_EQ(blocked(SIGUSR1), 1);
    CHECK_EQ(blocked(SIGTERM), 0);
    printf("kept %d\n", kept);
    return 0;
}
