// Waiting with a recursive mutex locked once releases it fully, with an errorcheck mutex the owner
// is right again after the wait, and waiting with one that is not ours is EPERM.
#include "switching.h"

static pthread_mutex_t rec = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP,
                       chk = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int turn, switches;

static void* body(void* argument) {
    pthread_mutex_t* m = argument;
    CHECK_OK(pthread_mutex_lock(m));
    while (turn < 100) {
        int seen = turn++;
        switches++;
        CHECK_OK(pthread_cond_signal(&c));
        while (turn == seen + 1 && turn < 100) CHECK_OK(pthread_cond_wait(&c, m));
        if (m == &rec) {
            CHECK_OK(pthread_mutex_lock(m));
            CHECK_OK(pthread_mutex_unlock(m));
        } else {
            CHECK_RC(pthread_mutex_lock(m), EDEADLK);
        }
    }
    CHECK_OK(pthread_cond_broadcast(&c));
    CHECK_OK(pthread_mutex_unlock(m));
    CHECK_RC(pthread_mutex_unlock(m), EPERM);
    return NULL;
}

int main(void) {
    CHECK_RC(pthread_cond_wait(&c, &chk), EPERM);
    pthread_mutex_t* which[] = {&rec, &chk};
    for (int i = 0; i < 2; i++) {
        turn = 0;
        pthread_t a = spawn(body, which[i]), b = spawn(body, which[i]);
        join(a);
        join(b);
    }
    printf("switches %d\n", switches);
    return 0;
}
