// A waiting writer lets new readers in when readers are preferred, and keeps them out when writers
// are (the non-recursive kind).
#include "switching.h"

static pthread_rwlock_t l;
static int writing, wrote;

static void* writer(void* unused) {
    (void)unused;
    bump(&writing);
    CHECK_OK(pthread_rwlock_wrlock(&l));
    bump(&wrote);
    CHECK_OK(pthread_rwlock_unlock(&l));
    return NULL;
}
static void* try_read(void* unused) {
    (void)unused;
    int rc = pthread_rwlock_tryrdlock(&l);
    if (rc == 0) CHECK_OK(pthread_rwlock_unlock(&l));
    return (void*)(long)rc;
}

int main(void) {
    static const int kinds[] = {PTHREAD_RWLOCK_PREFER_READER_NP, PTHREAD_RWLOCK_PREFER_WRITER_NP,
                                PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP};
    for (int k = 0; k < 3; k++) {
        pthread_rwlockattr_t a;
        CHECK_OK(pthread_rwlockattr_init(&a));
        CHECK_OK(pthread_rwlockattr_setkind_np(&a, kinds[k]));
        CHECK_OK(pthread_rwlock_init(&l, &a));
        writing = wrote = 0;
        CHECK_OK(pthread_rwlock_rdlock(&l));
        pthread_t w = spawn(writer, NULL);
        wait_for(&writing, 1);
        int kept_out = 0;
        if (k < 2) {
            likely_blocked();
            CHECK_EQ((long)join(spawn(try_read, NULL)), 0);
        } else {
            // Once the writer has queued up no reader gets in; before that, readers do.
            while ((long)join(spawn(try_read, NULL)) != EBUSY) usleep(200);
            kept_out = 1;
        }
        CHECK_EQ(__atomic_load_n(&wrote, __ATOMIC_ACQUIRE), 0);
        CHECK_OK(pthread_rwlock_unlock(&l));
        join(w);
        CHECK_EQ(wrote, 1);
        CHECK_OK(pthread_rwlock_destroy(&l));
        printf("kind %d: kept out %d\n", k, kept_out);
    }
    return 0;
}
