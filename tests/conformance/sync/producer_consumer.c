// expect: fibers>=12
// A bounded queue between producers and consumers with two conditions, some waits timed: every item
// arrives once, items of one producer in order within the queue.
#include "switching.h"

enum { kProducers = 6, kConsumers = 6, kItems = 4000, kSlots = 4 };
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_full = PTHREAD_COND_INITIALIZER, not_empty = PTHREAD_COND_INITIALIZER;
static struct { int producer, number; } slot[kSlots];
static unsigned head, tail;
static int finished, last[kProducers];
static long received, sum;

static void* produce(void* n) {
    for (int i = 1; i <= kItems; i++) {
        CHECK_OK(pthread_mutex_lock(&m));
        while (tail - head == kSlots) CHECK_OK(pthread_cond_wait(&not_full, &m));
        slot[tail % kSlots].producer = (int)(long)n;
        slot[tail % kSlots].number = i;
        tail++;
        CHECK_OK(pthread_cond_signal(&not_empty));
        CHECK_OK(pthread_mutex_unlock(&m));
        if (i % 1000 == 0) usleep(1);
    }
    CHECK_OK(pthread_mutex_lock(&m));
    finished++;
    CHECK_OK(pthread_cond_broadcast(&not_empty));
    CHECK_OK(pthread_mutex_unlock(&m));
    return NULL;
}

static void* consume(void* n) {
    CHECK_OK(pthread_mutex_lock(&m));
    for (;;) {
        while (tail == head && finished < kProducers) {
            struct timespec far = clock_after(CLOCK_REALTIME, 600000);
            CHECK_OK((long)n % 2 ? pthread_cond_timedwait(&not_empty, &m, &far)
                                 : pthread_cond_wait(&not_empty, &m));
        }
        if (tail == head) break;
        int p = slot[head % kSlots].producer, i = slot[head % kSlots].number;
        head++;
        CHECK_EQ(i, last[p] + 1);
        last[p] = i;
        received++;
        sum += i;
        CHECK_OK(pthread_cond_signal(&not_full));
        if (i % 500 == 0) {
            CHECK_OK(pthread_mutex_unlock(&m));
            sched_yield();
            CHECK_OK(pthread_mutex_lock(&m));
        }
    }
    CHECK_OK(pthread_mutex_unlock(&m));
    return NULL;
}

int main(void) {
    pthread_t t[kProducers + kConsumers];
    for (long i = 0; i < kConsumers; i++) t[i] = spawn(consume, (void*)i);
    for (long i = 0; i < kProducers; i++) t[kConsumers + i] = spawn(produce, (void*)i);
    for (int i = 0; i < kProducers + kConsumers; i++) join(t[i]);
    printf("received %ld, sum %ld\n", received, sum);
    CHECK_EQ(received, (long)kProducers * kItems);
    return 0;
}
