// Objects in memory that is reused: a page with objects somebody waited on is unmapped and mapped
// again at the same address, heap blocks change their kind, stack objects die with their frame;
// nothing of the former life is left, whatever fresh zeroes or the static initialisers say.
// expect: fibers>=4
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "switching.h"

enum { kRounds = 60 };

static int asleep, woken;

struct page {
    pthread_mutex_t m;
    pthread_cond_t c;
    pthread_rwlock_t rw;
    sem_t s;
    int ready;
};
static void* const kPlace = (void*)0x200000000000;

static void* waits_on_cond(void* argument) {
    struct page* p = argument;
    CHECK_OK(pthread_mutex_lock(&p->m));
    bump(&asleep);
    while (!p->ready) CHECK_OK(pthread_cond_wait(&p->c, &p->m));
    CHECK_OK(pthread_mutex_unlock(&p->m));
    bump(&woken);
    return NULL;
}
static void* waits_on_sem(void* argument) {
    struct page* p = argument;
    bump(&asleep);
    while (sem_wait(&p->s) != 0) CHECK_EQ(errno, EINTR);
    bump(&woken);
    return NULL;
}
static void* waits_on_rwlock(void* argument) {
    struct page* p = argument;
    bump(&asleep);
    CHECK_OK(pthread_rwlock_rdlock(&p->rw));
    CHECK_OK(pthread_rwlock_unlock(&p->rw));
    bump(&woken);
    return NULL;
}
static void* times_out(void* argument) {
    struct page* p = argument;
    struct timespec past = {1, 0};
    CHECK_RC(pthread_mutex_timedlock(&p->m, &past), ETIMEDOUT);
    CHECK_RC(pthread_rwlock_timedwrlock(&p->rw, &past), ETIMEDOUT);
    return NULL;
}

static void one_life(int round) {
    struct page* p = mmap(kPlace, 4096, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK_EQ(p, kPlace);
    if (round % 2) {
        p->m = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
        p->c = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
        p->rw = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER;
    }  // else zeroes are the same
    CHECK_EQ(sem_init(&p->s, 0, 0), 0);
    CHECK_OK(pthread_rwlock_wrlock(&p->rw));
    asleep = woken = 0;
    pthread_t t[4] = {spawn(waits_on_cond, p), spawn(waits_on_sem, p), spawn(waits_on_rwlock, p)};
    wait_for(&asleep, 3);
    if (round % 3 == 0) likely_blocked();
    CHECK_OK(pthread_mutex_lock(&p->m));
    t[3] = spawn(times_out, p);
    join(t[3]);
    p->ready = 1;
    CHECK_OK(pthread_cond_broadcast(&p->c));
    CHECK_OK(pthread_mutex_unlock(&p->m));
    CHECK_EQ(sem_post(&p->s), 0);
    CHECK_OK(pthread_rwlock_unlock(&p->rw));
    for (int i = 0; i < 3; i++) join(t[i]);
    CHECK_EQ(woken, 3);
    // Abandoned in every state, without a destroy.
    if (round % 4 == 1) CHECK_OK(pthread_mutex_lock(&p->m));
    if (round % 4 == 2) CHECK_OK(pthread_rwlock_wrlock(&p->rw));
    if (round % 4 == 3) CHECK_EQ(sem_post(&p->s), 0);
    CHECK_EQ(munmap(p, 4096), 0);
}

union block {
    pthread_mutex_t m;
    pthread_cond_t c;
    pthread_rwlock_t rw;
    pthread_barrier_t b;
    sem_t s;
    char bytes[64];
};
static void* meets(void* barrier) {
    int rc = pthread_barrier_wait(barrier);
    CHECK(rc == 0 || rc == PTHREAD_BARRIER_SERIAL_THREAD);
    return NULL;
}
static void changes_kind(void) {
    union block* block = malloc(sizeof *block);
    memset(block, 0xa5, sizeof *block);
    struct timespec past = {1, 0};
    for (int i = 0; i < kRounds; i++) {
        CHECK_OK(pthread_mutex_init(&block->m, NULL));
        CHECK_OK(pthread_mutex_lock(&block->m));
        CHECK_OK(pthread_mutex_unlock(&block->m));
        CHECK_OK(pthread_mutex_destroy(&block->m));
        memset(block, i, sizeof *block);
        CHECK_OK(pthread_barrier_init(&block->b, NULL, 2));
        pthread_t t = spawn(meets, &block->b);
        meets(&block->b);
        join(t);
        CHECK_OK(pthread_barrier_destroy(&block->b));
        memset(block, 0xff, sizeof *block);
        pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
        CHECK_OK(pthread_cond_init(&block->c, NULL));
        CHECK_OK(pthread_mutex_lock(&m));
        CHECK_RC(pthread_cond_timedwait(&block->c, &m, &past), ETIMEDOUT);
        CHECK_OK(pthread_mutex_unlock(&m));
        CHECK_OK(pthread_cond_destroy(&block->c));
        memset(block, 0xff, sizeof *block);
        CHECK_OK(pthread_rwlock_init(&block->rw, NULL));
        CHECK_OK(pthread_rwlock_rdlock(&block->rw));
        CHECK_RC(pthread_rwlock_timedwrlock(&block->rw, &past), ETIMEDOUT);
        CHECK_OK(pthread_rwlock_unlock(&block->rw));
        CHECK_OK(pthread_rwlock_destroy(&block->rw));
        memset(block, 0xff, sizeof *block);
        CHECK_EQ(sem_init(&block->s, 0, 1), 0);
        CHECK_EQ(sem_wait(&block->s), 0);
        CHECK_ERRNO(sem_timedwait(&block->s, &past), ETIMEDOUT);
        CHECK_EQ(sem_destroy(&block->s), 0);
    }
    free(block);
}

static void initialisers(void) {
    pthread_mutex_t kinds[] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP,
                               PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP,
                               PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP};
    for (int i = 0; i < 4; i++) {
        CHECK_OK(pthread_mutex_lock(&kinds[i]));
        int again = pthread_mutex_trylock(&kinds[i]);
        printf("kind %d again %d unlock %d", i, again, pthread_mutex_unlock(&kinds[i]));
        if (again == 0) CHECK_OK(pthread_mutex_unlock(&kinds[i]));
        printf(" destroy %d\n", pthread_mutex_destroy(&kinds[i]));
    }
    pthread_rwlock_t locks[] = {PTHREAD_RWLOCK_INITIALIZER,
                                PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP};
    for (int i = 0; i < 2; i++) {
        CHECK_OK(pthread_rwlock_rdlock(&locks[i]));
        CHECK_OK(pthread_rwlock_rdlock(&locks[i]));
        CHECK_RC(pthread_rwlock_trywrlock(&locks[i]), EBUSY);
        for (int k = 0; k < 2; k++) CHECK_OK(pthread_rwlock_unlock(&locks[i]));
        CHECK_OK(pthread_rwlock_destroy(&locks[i]));
    }
}

int main(void) {
    for (int i = 0; i < kRounds; i++) one_life(i);
    changes_kind();
    initialisers();
    return 0;
}
