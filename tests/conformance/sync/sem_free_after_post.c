// A semaphore on a page of its own is destroyed and unmapped by the waiter as soon as its wait
// returned: the post that woke it must not touch it any more.
#include <semaphore.h>
#include <sys/mman.h>

#include "switching.h"

enum { kRounds = 600 };
static sem_t *page, request;
static int freed;

static void* posts(void* unused) {
    (void)unused;
    for (int i = 0; i < kRounds; i++) {
        CHECK_EQ(sem_wait(&request), 0);
        sem_t* s = page;
        if (i % 3 == 0) sched_yield();
        if (i % 64 == 0) usleep(50);
        CHECK_EQ(sem_post(s), 0);
    }
    return NULL;
}

int main(void) {
    CHECK_EQ(sem_init(&request, 0, 0), 0);
    pthread_t t = spawn(posts, NULL);
    for (int i = 0; i < kRounds; i++) {
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(page != MAP_FAILED);
        sem_t* mine = page;
        CHECK_EQ(sem_init(mine, 0, 0), 0);
        CHECK_EQ(sem_post(&request), 0);
        if (i % 2)
            CHECK_EQ(sem_wait(mine), 0);
        else
            while (sem_trywait(mine) != 0) sched_yield();
        CHECK_EQ(sem_destroy(mine), 0);
        CHECK_EQ(munmap(mine, 4096), 0);
        freed++;
    }
    join(t);
    printf("freed %d\n", freed);
    return 0;
}
