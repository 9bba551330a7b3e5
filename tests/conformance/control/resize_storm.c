// limit: 120
// expect: resizes>=17
// (Under chaos each stop takes about a second.)
// The number of processors changes while threads hand over, wait for bytes and for times, compute,
// sit in calls and come and go: nothing is lost, and each change says what was before.
#include "twin.h"

#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../../../interpose/pfiber.h"

enum { kChanges = 18, kPairs = 6, kSleepers = 8 };

static atomic_int over, hogs_ended, bytes, naps, calls;

static void* echo(void* argument) {
    int fd = *(int*)argument;
    char c;
    while (take(fd, &c, 1) == 1) put(fd, &c, 1);
    return NULL;
}

static void* ask(void* argument) {
    int fd = *(int*)argument;
    for (char c = 0; !atomic_load(&over); c++) {
        char back;
        put(fd, &c, 1);
        CHECK_EQ(take(fd, &back, 1), 1);
        CHECK_EQ(c, back);
        atomic_fetch_add(&bytes, 1);
    }
    CHECK(shutdown(fd, SHUT_WR) == 0);
    return NULL;
}

static void* sleeper(void* argument) {
    while (!atomic_load(&over)) {
        nap(1 + (int)(intptr_t)argument % 3);
        atomic_fetch_add(&naps, 1);
    }
    return NULL;
}

// Never enters the runtime while it computes.
static void* hog(void* argument) {
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
    }
    atomic_fetch_add(&hogs_ended, 1);
    return argument;
}

static void* in_calls(void* argument) {
    int fds[2];
    CHECK(pipe(fds) == 0);
    while (!atomic_load(&over)) {
        struct stat st;
        CHECK(stat("/", &st) == 0);
        pfiber_syscall_block_begin();
        struct timespec moment = {0, 300000};
        syscall(SYS_nanosleep, &moment, NULL);
        pfiber_syscall_block_end();
        atomic_fetch_add(&calls, 1);
    }
    return argument;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int turn;

static void* hand_over(void* argument) {
    int mine = (int)(intptr_t)argument;
    CHECK(pthread_mutex_lock(&lock) == 0);
    while (!atomic_load(&over)) {
        while (turn % 2 != mine && !atomic_load(&over)) pthread_cond_wait(&turned, &lock);
        turn++;
        pthread_cond_signal(&turned);
    }
    pthread_cond_signal(&turned);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    return NULL;
}

int main(void) {
    pthread_t threads[64];
    int count = 0, fds[kPairs][2];
    for (int i = 0; i < kPairs; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]) == 0);
        threads[count++] = start(echo, &fds[i][0]);
        threads[count++] = start(ask, &fds[i][1]);
    }
    for (intptr_t i = 0; i < kSleepers; i++) threads[count++] = start(sleeper, (void*)i);
    for (intptr_t i = 0; i < 2; i++) threads[count++] = start(hand_over, (void*)i);
    for (int i = 0; i < 2; i++) threads[count++] = start(hog, NULL);
    for (int i = 0; i < 2; i++) threads[count++] = start(in_calls, NULL);
    int before = pfiber_gomaxprocs(0);
    CHECK_GE(before, 1);
    for (int i = 0; i < kChanges; i++) {
        int wanted = 1 + i * 7 % 9;
        int former = pfiber_gomaxprocs(wanted);
        if (pfiber_active()) {
            CHECK_EQ(former, before);
            CHECK_EQ(pfiber_gomaxprocs(0), wanted);
            before = wanted;
        }
        int seen = atomic_load(&naps);
        while (atomic_load(&naps) < seen + 2) nap(1);
    }
    CHECK(pfiber_gomaxprocs(-1) == before || !pfiber_active());
    pfiber_gomaxprocs(1);
    int seen = atomic_load(&bytes), done = atomic_load(&calls);
    while (atomic_load(&bytes) < seen + 100 || atomic_load(&calls) < done + 10) nap(1);
    atomic_store(&over, 1);
    for (int i = 0; i < count; i++) finish(threads[i]);
    CHECK_EQ(atomic_load(&hogs_ended), 2);
    printf("%d changes, %d threads ended\n", kChanges, count);
    return 0;
}
