// A bit of everything that a threaded server does, with a result that does not depend on order.
// usage: work [PART…]   (all parts without one)
// WORK_BLOCKED=N: how many threads wait in calls that only another kernel thread ends (4).
#include "twin.h"

#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>

#include "inline_syscall.h"

#define THREADS 12
#define ROUNDS 60

static int blocked = 4;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn, total;

static void* take_turns(void* arg) {
    const int me = (int)(intptr_t)arg;
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_OK(pthread_mutex_lock(&lock));
        while (turn % THREADS != me) CHECK_OK(pthread_cond_wait(&changed, &lock));
        turn++;
        total += me;
        CHECK_OK(pthread_cond_broadcast(&changed));
        CHECK_OK(pthread_mutex_unlock(&lock));
    }
    return arg;
}

static void objects(void) {
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) threads[i] = start(take_turns, (void*)i);
    for (intptr_t i = 0; i < THREADS; i++) CHECK_EQ((intptr_t)finish(threads[i]), i);
    printf("objects: %d turns, total %d\n", turn, total);
}

static void sockets(void) { printf("sockets: %d replies\n", pingpong(THREADS, ROUNDS)); }

static void* pipe_echo(void* arg) {
    const int* ends = arg;
    char line[64];
    FILE* in = fdopen(ends[0], "r");
    FILE* out = fdopen(ends[1], "w");
    int lines = 0;
    while (fgets(line, sizeof line, in) != NULL) {
        fprintf(out, "<%s", line);
        CHECK_EQ(fflush(out), 0);
        lines++;
    }
    CHECK_EQ(fclose(in) | fclose(out), 0);
    return (void*)(intptr_t)lines;
}

// stdio inside libc, on pipes.
static void lines(void) {
    int there[2], back[2];
    CHECK_EQ(pipe(there) | pipe(back), 0);
    int ends[2] = {there[0], back[1]};
    pthread_t thread = start(pipe_echo, ends);
    FILE* in = fdopen(back[0], "r");
    FILE* out = fdopen(there[1], "w");
    char line[64], want[64];
    for (int i = 0; i < ROUNDS; i++) {
        fprintf(out, "line %d\n", i);
        CHECK_EQ(fflush(out), 0);
        snprintf(want, sizeof want, "<line %d\n", i);
        CHECK(fgets(line, sizeof line, in) != NULL);
        CHECK_STR(line, want);
    }
    fclose(out);
    printf("lines: %d\n", (int)(intptr_t)finish(thread));
    fclose(in);
}

static void* sleeper(void* arg) {
    const int64_t begin = now_ms();
    for (int i = 0; i < 10; i++) nap(2);
    CHECK_GE(now_ms() - begin, 19);
    struct timespec until = after_ms(CLOCK_REALTIME, 5);
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    CHECK_OK(pthread_mutex_lock(&own));
    int rc;
    while ((rc = pthread_cond_timedwait(&never, &own, &until)) == 0) {
    }
    CHECK_RC(rc, ETIMEDOUT);
    CHECK(after_ms(CLOCK_REALTIME, 0).tv_sec >= until.tv_sec);
    CHECK_OK(pthread_mutex_unlock(&own));
    struct pollfd nothing = {-1, POLLIN, 0};
    CHECK_EQ(poll(&nothing, 1, 3), 0);
    return arg;
}

static void sleeps(void) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) threads[i] = start(sleeper, NULL);
    for (int i = 0; i < THREADS; i++) finish(threads[i]);
    printf("sleeps: %d\n", THREADS);
}

static volatile int stop;
static void* hog(void* arg) {
    while (!stop) {
    }
    return arg;
}

// With one processor the flag is set only when the hogs are preempted.
static void hogs(void) {
    pthread_t threads[3];
    stop = 0;
    for (int i = 0; i < 3; i++) threads[i] = start(hog, NULL);
    nap(5);
    stop = 1;
    for (int i = 0; i < 3; i++) finish(threads[i]);
    printf("hogs: 3\n");
}

static volatile sig_atomic_t handled;
static void on_signal(int signal) {
    (void)signal;
    handled++;
}
static sem_t ready;
static void* waits_for_signals(void* arg) {
    sem_post(&ready);
    while (handled < 5) nap(1);
    return arg;
}

static void signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    sem_init(&ready, 0, 0);
    pthread_t thread = start(waits_for_signals, NULL);
    wait_sem(&ready);
    for (int i = 0; i < 5; i++) {
        CHECK_OK(pthread_kill(thread, SIGUSR1));
        while (handled <= i) nap(1);
    }
    finish(thread);
    printf("signals: %d\n", (int)handled);
}

static void* raw_reader(void* arg) {
    char byte = 0;
    CHECK_EQ(inline_syscall(SYS_read, (intptr_t)arg, (intptr_t)&byte, 1, 0), 1);
    return (void*)(intptr_t)byte;
}

// The writer can run only when the readers' processors are taken from them.
static void unseen(void) {
    int ends[4][2];
    pthread_t threads[4];
    for (int i = 0; i < blocked; i++) {
        CHECK_EQ(pipe(ends[i]), 0);
        threads[i] = start(raw_reader, (void*)(intptr_t)ends[i][0]);
    }
    nap(20);
    int sum = 0;
    for (int i = 0; i < blocked; i++) put(ends[i][1], &(char){(char)(i + 1)}, 1);
    for (int i = 0; i < blocked; i++) sum += (int)(intptr_t)finish(threads[i]);
    for (int i = 0; i < blocked; i++) CHECK_EQ(close(ends[i][0]) | close(ends[i][1]), 0);
    printf("unseen: %d\n", sum);
}

static void* locks_file(void* arg) {
    const char* path = arg;
    const int fd = open(path, O_RDWR);
    CHECK(fd >= 0);
    CHECK_EQ(flock(fd, LOCK_EX), 0);
    CHECK_EQ(flock(fd, LOCK_UN) | close(fd), 0);
    return NULL;
}

// Calls that block in the kernel for as long as others hold a lock.
static void calls(void) {
    char path[] = "/tmp/pfiber-faults-XXXXXX";
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(flock(fd, LOCK_EX), 0);
    pthread_t threads[4];
    for (int i = 0; i < blocked; i++) threads[i] = start(locks_file, path);
    nap(10);
    CHECK_EQ(flock(fd, LOCK_UN), 0);
    for (int i = 0; i < blocked; i++) finish(threads[i]);
    CHECK_EQ(close(fd) | unlink(path), 0);
    printf("calls: %d\n", blocked);
}

static void* nothing(void* arg) { return arg; }

static void children(void) {
    int good = 0;
    for (int i = 0; i < 3; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            intptr_t sum = 0;
            for (intptr_t t = 1; t <= 4; t++) sum += (intptr_t)finish(start(nothing, (void*)t));
            _exit(sum == 10 ? 7 : 1);
        }
        CHECK(pid > 0);
        good += exited_with(reap(pid), 7);
    }
    printf("children: %d\n", good);
}

static void many(void) {
    enum { kMany = 150 };
    static pthread_t threads[kMany];
    intptr_t sum = 0;
    for (intptr_t i = 0; i < kMany; i++) threads[i] = start(nothing, (void*)i);
    for (int i = 0; i < kMany; i++) sum += (intptr_t)finish(threads[i]);
    printf("many: %d\n", (int)sum);
}

int main(int argc, char** argv) {
    static const struct {
        const char* name;
        void (*part)(void);
    } parts[] = {{"objects", objects}, {"sockets", sockets}, {"lines", lines},
                 {"sleeps", sleeps},   {"hogs", hogs},       {"signals", signals},
                 {"unseen", unseen},   {"calls", calls},     {"children", children},
                 {"many", many}};
    if (getenv("WORK_BLOCKED") != NULL) blocked = atoi(getenv("WORK_BLOCKED"));
    for (int i = 0; i < COUNT(parts); i++) {
        int wanted = argc == 1;
        for (int a = 1; a < argc; a++) wanted |= strcmp(argv[a], parts[i].name) == 0;
        if (wanted) parts[i].part();
        fflush(stdout);
    }
    return 0;
}
