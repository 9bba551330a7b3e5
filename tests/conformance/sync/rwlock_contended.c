// expect: fibers>=8
// Readers and writers of each preference: a reader never sees a half-made update, readers do
// overlap, nobody starves for ever.
#include "switching.h"

enum { kReaders = 6, kWriters = 2, kRounds = 1200 };
struct shared {
    pthread_rwlock_t l;
    long a, b;
    int readers_inside, writers_inside;
};
static pthread_barrier_t both_read;

static void* reader(void* argument) {
    struct shared* s = argument;
    for (int i = 0; i < kRounds; i++) {
        CHECK_OK(pthread_rwlock_rdlock(&s->l));
        bump(&s->readers_inside);
        CHECK_EQ(__atomic_load_n(&s->writers_inside, __ATOMIC_ACQUIRE), 0);
        long seen = s->a;
        if (i % 32 == 0) sched_yield();
        CHECK_EQ(s->b, seen);
        __atomic_sub_fetch(&s->readers_inside, 1, __ATOMIC_ACQ_REL);
        CHECK_OK(pthread_rwlock_unlock(&s->l));
    }
    return NULL;
}

static void* writer(void* argument) {
    struct shared* s = argument;
    for (int i = 0; i < kRounds; i++) {
        CHECK_OK(pthread_rwlock_wrlock(&s->l));
        CHECK_EQ(bump(&s->writers_inside), 1);
        CHECK_EQ(__atomic_load_n(&s->readers_inside, __ATOMIC_ACQUIRE), 0);
        s->a++;
        if (i % 16 == 0) sched_yield();
        if (i % 256 == 0) usleep(1);
        s->b++;
        __atomic_sub_fetch(&s->writers_inside, 1, __ATOMIC_ACQ_REL);
        CHECK_OK(pthread_rwlock_unlock(&s->l));
    }
    return NULL;
}

static void* overlaps(void* l) {
    CHECK_OK(pthread_rwlock_rdlock(l));
    // Returns only when two hold the lock for reading at the same time.
    int rc = pthread_barrier_wait(&both_read);
    CHECK(rc == 0 || rc == PTHREAD_BARRIER_SERIAL_THREAD);
    CHECK_OK(pthread_rwlock_unlock(l));
    return NULL;
}

int main(void) {
    for (int kind = 0; kind < 3; kind++) {
        struct shared s = {.a = 0};
        pthread_rwlockattr_t a;
        CHECK_OK(pthread_rwlockattr_init(&a));
        CHECK_OK(pthread_rwlockattr_setkind_np(&a, kind));
        CHECK_OK(pthread_rwlock_init(&s.l, &a));
        pthread_t t[kReaders + kWriters];
        for (int i = 0; i < kReaders; i++) t[i] = spawn(reader, &s);
        for (int i = kReaders; i < kReaders + kWriters; i++) t[i] = spawn(writer, &s);
        for (int i = 0; i < kReaders + kWriters; i++) join(t[i]);
        CHECK_EQ(s.a, kWriters * kRounds);
        CHECK_EQ(s.b, kWriters * kRounds);
        CHECK_OK(pthread_barrier_init(&both_read, NULL, 2));
        pthread_t x = spawn(overlaps, &s.l), y = spawn(overlaps, &s.l);
        join(x);
        join(y);
        CHECK_OK(pthread_barrier_destroy(&both_read));
        CHECK_OK(pthread_rwlock_destroy(&s.l));
        printf("kind %d: %ld\n", kind, s.b);
    }
    return 0;
}
