// Mutexes locked, and conditions and semaphores used, before the first thread exists stay what they
// are when threads appear: the new threads find them locked.
#include <semaphore.h>

#include "switching.h"

static pthread_mutex_t locked[4] = {
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP,
    PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP, PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP};
static pthread_rwlock_t read_held = PTHREAD_RWLOCK_INITIALIZER,
                        write_held = PTHREAD_RWLOCK_INITIALIZER;
static sem_t sem;
static int ready, got;

static void* body(void* unused) {
    (void)unused;
    for (int i = 0; i < 4; i++) CHECK_RC(pthread_mutex_trylock(&locked[i]), EBUSY);
    CHECK_RC(pthread_mutex_unlock(&locked[1]), EPERM);
    CHECK_RC(pthread_mutex_unlock(&locked[2]), EPERM);
    CHECK_OK(pthread_rwlock_tryrdlock(&read_held));
    CHECK_OK(pthread_rwlock_unlock(&read_held));
    CHECK_RC(pthread_rwlock_trywrlock(&read_held), EBUSY);
    CHECK_RC(pthread_rwlock_tryrdlock(&write_held), EBUSY);
    for (int i = 0; i < 3; i++) CHECK_EQ(sem_trywait(&sem), 0);
    CHECK_ERRNO(sem_trywait(&sem), EAGAIN);
    bump(&ready);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(pthread_mutex_lock(&locked[i]));
        bump(&got);
        CHECK_OK(pthread_mutex_unlock(&locked[i]));
    }
    CHECK_OK(pthread_rwlock_wrlock(&read_held));
    CHECK_OK(pthread_rwlock_unlock(&read_held));
    CHECK_OK(pthread_rwlock_rdlock(&write_held));
    CHECK_OK(pthread_rwlock_unlock(&write_held));
    return NULL;
}

int main(void) {
    for (int i = 0; i < 4; i++) CHECK_OK(pthread_mutex_lock(&locked[i]));
    CHECK_OK(pthread_mutex_lock(&locked[1]));
    CHECK_OK(pthread_rwlock_rdlock(&read_held));
    CHECK_OK(pthread_rwlock_wrlock(&write_held));
    CHECK_EQ(sem_init(&sem, 0, 4), 0);
    CHECK_EQ(sem_wait(&sem), 0);
    pthread_t t = spawn(body, NULL);
    wait_for(&ready, 1);
    CHECK_RC(pthread_mutex_lock(&locked[2]), EDEADLK);
    likely_blocked();
    CHECK_EQ(__atomic_load_n(&got, __ATOMIC_ACQUIRE), 0);
    for (int i = 0; i < 4; i++) CHECK_OK(pthread_mutex_unlock(&locked[i]));
    likely_blocked();
    CHECK_EQ(__atomic_load_n(&got, __ATOMIC_ACQUIRE), 1);  // the recursive one is still held once
    CHECK_OK(pthread_mutex_unlock(&locked[1]));
    CHECK_OK(pthread_rwlock_unlock(&read_held));
    CHECK_OK(pthread_rwlock_unlock(&write_held));
    join(t);
    printf("acquired %d\n", got);
    return 0;
}
