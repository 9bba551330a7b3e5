// expect: fibers>=6
// Process-shared objects between this program and one that was started without any preloaded
// library: counters, alternation, robust mutexes whose owner ends in the other process, mutexes
// with priority inheritance, named semaphores and plain futexes.
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "shared_objects.inc"

struct extra {
    struct shared objects;
    pthread_mutex_t robust[3];  // normal, recursive, normal with priority inheritance
    pthread_mutex_t inherit;
    long inherited;
    int held, word;
};
static struct extra* x;
static char name[64];

static void init_mutex(pthread_mutex_t* m, int type, int robust, int protocol) {
    pthread_mutexattr_t a;
    CHECK_OK(pthread_mutexattr_init(&a));
    CHECK_OK(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
    CHECK_OK(pthread_mutexattr_settype(&a, type));
    CHECK_OK(pthread_mutexattr_setrobust(&a, robust));
    CHECK_OK(pthread_mutexattr_setprotocol(&a, protocol));
    CHECK_OK(pthread_mutex_init(m, &a));
}

static void* inherits(void* unused) {
    (void)unused;
    for (int i = 0; i < 500; i++) {
        CHECK_OK(pthread_mutex_lock(&x->inherit));
        long seen = x->inherited;
        if (i % 32 == 0) sched_yield();
        x->inherited = seen + 1;
        CHECK_OK(pthread_mutex_unlock(&x->inherit));
    }
    return NULL;
}

static long futex(int op, int value) {
    return syscall(SYS_futex, &x->word, op, value, NULL, NULL, 0);
}
// Strict alternation of the word's value, `mine` to the other's.
static void* alternates(void* mine) {
    int me = (int)(long)mine;
    for (int i = 0; i < 200; i++) {
        int seen;
        while ((seen = __atomic_load_n(&x->word, __ATOMIC_ACQUIRE)) % 2 != me)
            if (futex(FUTEX_WAIT, seen) != 0) CHECK(errno == EAGAIN || errno == EINTR);
        __atomic_store_n(&x->word, seen + 1, __ATOMIC_RELEASE);
        CHECK_GE(futex(FUTEX_WAKE, 1), 0);
    }
    return NULL;
}

static void both(int process) {
    run_process(&x->objects, process);
    pthread_t t[3];
    for (int i = 0; i < 2; i++) t[i] = spawn(inherits, NULL);
    t[2] = spawn(alternates, (void*)(long)process);
    for (int i = 0; i < 3; i++) join(t[i]);
    sem_t* s[2];
    for (int i = 0; i < 2; i++) {
        char each[80];
        snprintf(each, sizeof each, "%s-%d", name, i);
        CHECK((s[i] = sem_open(each, O_CREAT, 0600, 0)) != SEM_FAILED);
    }
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(sem_post(s[process]), 0);
        while (sem_wait(s[!process]) != 0) CHECK_EQ(errno, EINTR);
    }
}

static void* takes_robust(void* unused) {
    (void)unused;
    for (int i = 0; i < 3; i++) CHECK_OK(pthread_mutex_lock(&x->robust[i]));
    bump(&x->held);
    return NULL;
}
static void* inherits_dead(void* mutex) {
    CHECK_RC(pthread_mutex_lock(mutex), EOWNERDEAD);
    CHECK_OK(pthread_mutex_consistent(mutex));
    CHECK_OK(pthread_mutex_unlock(mutex));
    return (void*)1;
}

static pid_t start_peer(const char* role, int fd) {
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    fflush(stdout);
    pid_t child = fork();
    CHECK_GE(child, 0);
    if (child == 0) {
        unsetenv("LD_PRELOAD");
        execl("/proc/self/exe", "peer", role, number, name, (char*)NULL);
        _exit(99);
    }
    return child;
}
static int end_of(pid_t child) {
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    return status;
}

static int peer(const char* role) {
    FILE* maps = fopen("/proc/self/maps", "r");
    char line[512];
    while (fgets(line, sizeof line, maps) != NULL) CHECK(strstr(line, "pfiber") == NULL);
    fclose(maps);
    if (strcmp(role, "both") == 0) {
        both(1);
    } else if (strcmp(role, "thread") == 0) {  // the owner is a thread that ends
        join(spawn(takes_robust, NULL));
        pause();
    } else if (strcmp(role, "main") == 0) {
        takes_robust(NULL);
        pause();
    } else {  // waits for the death of a thread of ours
        long dead = 0;
        for (int i = 0; i < 3; i++) dead += (long)inherits_dead(&x->robust[i]);
        return dead == 3 ? 0 : 1;
    }
    return 0;
}

int main(int count, char** arguments) {
    int fd = count > 1 ? atoi(arguments[2]) : memfd_create("shared", 0);
    CHECK_GE(fd, 0);
    if (count == 1) CHECK_EQ(ftruncate(fd, sizeof *x), 0);
    x = mmap(NULL, sizeof *x, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(x != MAP_FAILED);
    if (count > 1) {
        snprintf(name, sizeof name, "%s", arguments[3]);
        return peer(arguments[1]);
    }
    snprintf(name, sizeof name, "/native-peer-%d", (int)getpid());
    struct shared* made = make_shared();
    x->objects = *made;  // fresh objects are plain memory
    init_mutex(&x->robust[0], PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
    init_mutex(&x->robust[1], PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
    init_mutex(&x->robust[2], PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_INHERIT);
    init_mutex(&x->inherit, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT);

    pid_t child = start_peer("both", fd);
    both(0);
    CHECK_EQ(end_of(child), 0);
    CHECK_EQ(x->objects.counter[0], 2L * kPerProcess * kSharedRounds);
    CHECK_EQ(x->inherited, 2 * 2 * 500);
    CHECK_EQ(x->word, 400);
    for (int i = 0; i < 2; i++) {
        char each[80];
        snprintf(each, sizeof each, "%s-%d", name, i);
        CHECK_EQ(sem_unlink(each), 0);
    }
    printf("counter %ld, inherited %ld, word %d\n", x->objects.counter[0], x->inherited, x->word);

    long dead = 0;
    static const char* const roles[] = {"thread", "main"};
    for (int round = 0; round < 4; round++) {
        x->held = 0;
        child = start_peer(roles[round % 2], fd);
        wait_for(&x->held, 1);
        pthread_t w[3];
        // A dead thread's mutexes can be had at once, a live process's only after its end.
        if (round % 2 == 0)
            for (int i = 0; i < 3; i++) dead += (long)inherits_dead(&x->robust[i]);
        if (round == 3) {
            for (int i = 0; i < 3; i++) w[i] = spawn(inherits_dead, &x->robust[i]);
            likely_blocked();
        }
        CHECK_EQ(kill(child, SIGKILL), 0);
        int status = end_of(child);
        CHECK(WIFSIGNALED(status));
        if (round == 1)
            for (int i = 0; i < 3; i++) dead += (long)inherits_dead(&x->robust[i]);
        if (round == 3)
            for (int i = 0; i < 3; i++) dead += (long)join(w[i]);
    }
    // Our thread ends while it owns them; the other process finds out.
    for (int round = 0; round < 2; round++) {
        x->held = 0;
        join(spawn(takes_robust, NULL));
        child = start_peer("inherit", fd);
        dead += end_of(child) == 0;
    }
    printf("dead %ld\n", dead);
    return 0;
}
