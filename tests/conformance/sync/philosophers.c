// expect: fibers>=20
// Hand-overs in a ring: 20 threads each need two of 20 mutexes, in an order that cannot deadlock,
// and eat a fixed number of times; a lost wake-up leaves the ring standing.
#include "switching.h"

enum { kSeats = 20, kMeals = 500 };
static pthread_mutex_t fork_[kSeats];
static int in_use[kSeats], meals[kSeats];

static void* eats(void* argument) {
    int n = (int)(long)argument, first = n, second = (n + 1) % kSeats;
    if (first > second) first = second, second = n;
    for (int i = 0; i < kMeals; i++) {
        CHECK_OK(pthread_mutex_lock(&fork_[first]));
        if (i % 16 == 0) sched_yield();
        CHECK_OK(pthread_mutex_lock(&fork_[second]));
        CHECK_EQ(in_use[first]++, 0);
        CHECK_EQ(in_use[second]++, 0);
        if (i % 64 == 0) usleep(1);
        meals[n]++;
        in_use[first]--;
        in_use[second]--;
        CHECK_OK(pthread_mutex_unlock(&fork_[second]));
        CHECK_OK(pthread_mutex_unlock(&fork_[first]));
    }
    return NULL;
}

int main(void) {
    pthread_t t[kSeats];
    int all = 0;
    for (int i = 0; i < kSeats; i++) CHECK_OK(pthread_mutex_init(&fork_[i], NULL));
    for (long i = 0; i < kSeats; i++) t[i] = spawn(eats, (void*)i);
    for (int i = 0; i < kSeats; i++) {
        join(t[i]);
        all += meals[i];
    }
    printf("meals %d\n", all);
    return 0;
}
