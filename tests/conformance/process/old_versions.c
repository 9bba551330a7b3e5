// A program bound to the symbol versions of old glibc: condition variables of 2.2.5, which are a
// pointer, and the threads of libpthread.so before 2.34.
// expect: fibers>=2 native_fallbacks=0
#include "../../support/twin.h"

#define OLD(name) __asm__(".symver old_" #name "," #name "@GLIBC_2.2.5")
OLD(pthread_cond_wait);
OLD(pthread_cond_timedwait);
OLD(pthread_cond_signal);
OLD(pthread_cond_broadcast);
OLD(pthread_cond_init);
OLD(pthread_cond_destroy);
OLD(pthread_create);
OLD(pthread_join);
OLD(sem_wait);
int old_pthread_cond_wait(void*, pthread_mutex_t*);
int old_pthread_cond_timedwait(void*, pthread_mutex_t*, const struct timespec*);
int old_pthread_cond_signal(void*);
int old_pthread_cond_broadcast(void*);
int old_pthread_cond_init(void*, const void*);
int old_pthread_cond_destroy(void*);
int old_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int old_pthread_join(pthread_t, void**);
int old_sem_wait(sem_t*);

static struct { void* place[6]; } condition;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int turn, turns;
static sem_t permits;

static void* worker(void* arg) {
    int me = (int)(intptr_t)arg;
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != me) old_pthread_cond_wait(&condition, &mutex);
        turn = !me;
        turns++;
        old_pthread_cond_signal(&condition);
        pthread_mutex_unlock(&mutex);
    }
    old_sem_wait(&permits);
    return arg;
}

int main(void) {
    pthread_t t[2];
    CHECK(sem_init(&permits, 0, 2) == 0);
    for (intptr_t i = 0; i < 2; i++) CHECK(old_pthread_create(&t[i], NULL, worker, (void*)i) == 0);
    for (int i = 0; i < 2; i++) CHECK(old_pthread_join(t[i], NULL) == 0);
    struct timespec until = after_ms(CLOCK_REALTIME, 20);
    pthread_mutex_lock(&mutex);
    printf("%d turns\n", turns);
    CHECK_RC(old_pthread_cond_timedwait(&condition, &mutex, &until), ETIMEDOUT);
    CHECK_OK(old_pthread_cond_broadcast(&condition));
    CHECK_OK(old_pthread_cond_destroy(&condition));
    void* room[7] = {0};
    room[6] = room;
    CHECK_OK(old_pthread_cond_init(room, NULL));
    printf("what lies behind it is untouched: %d\n", room[6] == room);
    return 0;
}
