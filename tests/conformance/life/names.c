// Thread names belong to the thread: set and read by itself and by others, through pthread and
// prctl, inherited from the creator, 15 characters at most.
#include <sys/prctl.h>

#include "switching.h"

static int ready, release_it;

static void* body(void* n) {
    char want[16], got[16];
    CHECK_OK(pthread_getname_np(pthread_self(), got, sizeof got));
    CHECK_STR(got, "creator");  // inherited
    snprintf(want, sizeof want, "thread %ld", (long)n);
    if ((long)n % 2)
        CHECK_OK(pthread_setname_np(pthread_self(), want));
    else
        CHECK_EQ(prctl(PR_SET_NAME, want), 0);
    for (int i = 0; i < 10; i++) {
        move_about(4);
        CHECK_OK(pthread_getname_np(pthread_self(), got, sizeof got));
        CHECK_STR(got, want);
        CHECK_EQ(prctl(PR_GET_NAME, got), 0);
        CHECK_STR(got, want);
    }
    bump(&ready);
    wait_for(&release_it, 1);
    CHECK_OK(pthread_getname_np(pthread_self(), got, sizeof got));
    CHECK_STR(got, "renamed");
    return NULL;
}

int main(void) {
    char got[16];
    CHECK_OK(pthread_setname_np(pthread_self(), "creator"));
    CHECK_RC(pthread_setname_np(pthread_self(), "sixteen letters!"), ERANGE);
    CHECK_RC(pthread_getname_np(pthread_self(), got, 8), ERANGE);
    pthread_t t[6];
    for (long i = 0; i < 6; i++) t[i] = spawn(body, (void*)i);
    wait_for(&ready, 6);
    for (int i = 0; i < 6; i++) {
        CHECK_OK(pthread_getname_np(t[i], got, sizeof got));
        printf("%s\n", got);
        CHECK_OK(pthread_setname_np(t[i], "renamed"));
    }
    bump(&release_it);
    for (int i = 0; i < 6; i++) join(t[i]);
    CHECK_OK(pthread_getname_np(pthread_self(), got, sizeof got));
    printf("%s\n", got);
    return 0;
}
