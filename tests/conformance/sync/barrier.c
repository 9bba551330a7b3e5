// expect: fibers>=6
// Barriers: nobody passes early, exactly one thread per round is the serial one, the count may be
// one, zero is refused, and the barrier may be destroyed and unmapped as soon as its wait returned.
#include <sys/mman.h>

#include "switching.h"

enum { kThreads = 6, kRounds = 500 };
static pthread_barrier_t b;
static int arrived[kRounds], serial[kRounds];
static pthread_barrier_t* on_page;

static void* body(void* n) {
    for (int r = 0; r < kRounds; r++) {
        if ((r + (long)n) % 50 == 0) usleep(1);
        bump(&arrived[r]);
        int rc = pthread_barrier_wait(&b);
        CHECK_EQ(__atomic_load_n(&arrived[r], __ATOMIC_ACQUIRE), kThreads);
        if (rc == PTHREAD_BARRIER_SERIAL_THREAD)
            bump(&serial[r]);
        else
            CHECK_OK(rc);
    }
    return NULL;
}

static void* meets_once(void* unused) {
    (void)unused;
    pthread_barrier_t* mine = on_page;
    // POSIX: the serial thread may destroy; destroy waits until the others have left.
    if (pthread_barrier_wait(mine) == PTHREAD_BARRIER_SERIAL_THREAD) {
        CHECK_OK(pthread_barrier_destroy(mine));
        CHECK_EQ(munmap(mine, 4096), 0);
        return (void*)1;
    }
    return NULL;
}

int main(void) {
    CHECK_RC(pthread_barrier_init(&b, NULL, 0), EINVAL);
    CHECK_OK(pthread_barrier_init(&b, NULL, 1));
    for (int i = 0; i < 3; i++) CHECK_RC(pthread_barrier_wait(&b), PTHREAD_BARRIER_SERIAL_THREAD);
    CHECK_OK(pthread_barrier_destroy(&b));
    pthread_barrierattr_t a;
    int v;
    CHECK_OK(pthread_barrierattr_init(&a));
    CHECK_OK(pthread_barrierattr_getpshared(&a, &v));
    CHECK_EQ(v, PTHREAD_PROCESS_PRIVATE);
    CHECK_RC(pthread_barrierattr_setpshared(&a, 9), EINVAL);
    CHECK_OK(pthread_barrier_init(&b, &a, kThreads));
    CHECK_OK(pthread_barrierattr_destroy(&a));
    pthread_t t[kThreads];
    for (long i = 0; i < kThreads; i++) t[i] = spawn(body, (void*)i);
    for (int i = 0; i < kThreads; i++) join(t[i]);
    int serials = 0;
    for (int r = 0; r < kRounds; r++) {
        CHECK_EQ(serial[r], 1);
        serials += serial[r];
    }
    CHECK_OK(pthread_barrier_destroy(&b));
    long destroyed = 0;
    for (int i = 0; i < 200; i++) {
        on_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(on_page != MAP_FAILED);
        CHECK_OK(pthread_barrier_init(on_page, NULL, 3));
        for (int k = 0; k < 3; k++) t[k] = spawn(meets_once, NULL);
        for (int k = 0; k < 3; k++) destroyed += (long)join(t[k]);
    }
    printf("serial %d, destroyed %ld\n", serials, destroyed);
    return 0;
}
