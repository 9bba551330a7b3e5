// Contention for record locks, flock, open file description locks, System V semaphores and messages
// and POSIX queues, between threads and with another process; deadlock detection, removal and
// notification end the waits.
// limit: 60
// expect: fibers>=10 native_fallbacks=0
#include "../../support/twin.h"
#include "../../support/cases.h"
#include <mqueue.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>

static char path[] = "/tmp/pfiber-twin-XXXXXX";
static int kind;

static void say(const char* name, long answer) {
    printf("%s: %ld %s\n", name, answer, answer < 0 ? strerrorname_np(errno) : "ok");
}
static int lock(int fd, int k, int type, int waits) {
    struct flock l = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    static const int flock_of[] = {LOCK_SH, LOCK_EX, LOCK_UN};
    switch (k) {
        case 0:
            return fcntl(fd, waits ? F_SETLKW : F_SETLK, &l);
        case 1:
            return fcntl(fd, waits ? F_OFD_SETLKW : F_OFD_SETLK, &l);
        case 2:
            return flock(fd, flock_of[type] | (waits ? 0 : LOCK_NB));
        default:
            return lockf(fd, type == F_UNLCK ? F_ULOCK : waits ? F_LOCK : F_TLOCK, 10);
    }
}
static long do_lock(int fd) { return lock(fd, kind, F_WRLCK, 1); }

static void files(void) {
    static const char* names[] = {"fcntl", "open file", "flock", "lockf"};
    int tmp = mkstemp(path);
    CHECK(tmp >= 0);
    for (kind = 0; kind < 4; kind++) {
        int a = open(path, O_RDWR), b = open(path, O_RDWR), to[2], from[2];
        CHECK(a >= 0 && b >= 0 && pipe(to) == 0 && pipe(from) == 0);
        // Against another process.
        pid_t child = fork();
        if (child == 0) {
            int own = open(path, O_RDWR);
            char byte;
            CHECK(lock(own, kind, F_WRLCK, 1) == 0);
            put(from[1], "l", 1);
            CHECK(read(to[0], &byte, 1) == 1);
            CHECK(lock(own, kind, F_UNLCK, 1) == 0);
            CHECK(read(to[0], &byte, 1) == 1);
            CHECK(lock(own, kind, F_WRLCK, 1) == 0);
            _exit(3);
        }
        char byte, name[64];
        CHECK(read(from[0], &byte, 1) == 1);
        snprintf(name, sizeof name, "%s against a process", names[kind]);
        say(name, lock(a, kind, F_WRLCK, 0));
        struct call c;
        begin_call(&c, do_lock, a);
        printf("%s: %s\n", name, state_of(&c));
        put(to[1], "u", 1);
        end_call(&c, name);
        put(to[1], "u", 1);
        // The lock of another description, from another thread.
        snprintf(name, sizeof name, "%s against a thread", names[kind]);
        if (kind == 1 || kind == 2) {
            begin_call(&c, do_lock, b);
            printf("%s: %s\n", name, state_of(&c));
            nap(10);
            CHECK(lock(a, kind, F_UNLCK, 0) == 0);
            end_call(&c, name);
            CHECK(lock(b, kind, F_UNLCK, 0) == 0);
        } else {
            say(name, lock(b, kind, F_WRLCK, 0));
            close(b);  // gives up every record lock of the process
            b = -1;
        }
        printf("child got it: %d\n", exited_with(reap(child), 3));
        close(a);
        if (b >= 0) close(b);
        for (int i = 0; i < 2; i++) close(to[i]), close(from[i]);
    }
    // Two processes that wait for each other: one is told.
    int fd = open(path, O_RDWR), to[2], from[2];
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    struct flock first = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    struct flock second = first;
    second.l_start = 5;
    CHECK(fcntl(fd, F_SETLK, &first) == 0);
    pid_t child = fork();
    if (child == 0) {
        int own = open(path, O_RDWR);
        CHECK(fcntl(own, F_SETLK, &second) == 0);
        put(from[1], "l", 1);
        CHECK(fcntl(own, F_SETLKW, &first) == 0);
        _exit(4);
    }
    char byte;
    CHECK(read(from[0], &byte, 1) == 1);
    nap(50);
    say("deadlock", fcntl(fd, F_SETLKW, &second));
    close(fd);
    printf("child got it: %d\n", exited_with(reap(child), 4));
    close(tmp);
    unlink(path);
}

static long do_semop(int id) {
    struct sembuf take = {0, -2, 0};
    return semop(id, &take, 1);
}
static long do_zero(int id) {
    struct sembuf zero = {1, 0, 0};
    struct timespec t = {5, 0};
    return semtimedop(id, &zero, 1, &t);
}
struct message {
    long type;
    char text[16];
};
static long do_msgrcv(int id) {
    struct message m;
    return msgrcv(id, &m, sizeof m.text, -3, 0);
}
static long do_msgsnd(int id) {
    struct message m = {2, "full"};
    return msgsnd(id, &m, 16, 0);
}
static void system_five(void) {
    int id = semget(IPC_PRIVATE, 2, 0600);
    CHECK(id >= 0);
    struct call c, d;
    begin_call(&c, do_semop, id);
    struct sembuf give = {0, 1, 0};
    CHECK(semop(id, &give, 1) == 0);
    nap(10);
    printf("semaphore 1 of 2: %s\n", state_of(&c));
    pid_t child = fork();
    if (child == 0) _exit(semop(id, &give, 1) == 0 ? 3 : 4);
    end_call(&c, "semaphore 2 of 2");
    CHECK(exited_with(reap(child), 3));
    CHECK(semctl(id, 1, SETVAL, 1) == 0);
    begin_call(&c, do_zero, id);
    begin_call(&d, do_semop, id);
    printf("waiters %d %d\n", semctl(id, 1, GETZCNT), semctl(id, 0, GETNCNT));
    CHECK(semctl(id, 1, SETVAL, 0) == 0);
    end_call(&c, "zero");
    struct timespec t = {0, 20000000};
    struct sembuf take = {0, -1, 0};
    say("timeout", semtimedop(id, &take, 1, &t));
    CHECK(semctl(id, 0, IPC_RMID) == 0);
    end_call(&d, "removed");
    id = msgget(IPC_PRIVATE, 0600);
    CHECK(id >= 0);
    begin_call(&c, do_msgrcv, id);
    struct message m = {5, "other"};
    CHECK(msgsnd(id, &m, 5, 0) == 0);
    nap(10);
    printf("another type: %s\n", state_of(&c));
    m.type = 3;
    CHECK(msgsnd(id, &m, 5, 0) == 0);
    end_call(&c, "its type");
    while (msgsnd(id, &m, 16, IPC_NOWAIT) == 0) {
    }
    begin_call(&c, do_msgsnd, id);
    CHECK(msgrcv(id, &m, 16, 0, 0) == 5);
    nap(10);
    CHECK(msgrcv(id, &m, 16, 0, 0) == 16);
    end_call(&c, "room again");
    while (msgsnd(id, &m, 16, IPC_NOWAIT) == 0) {
    }
    begin_call(&c, do_msgsnd, id);
    CHECK(msgctl(id, IPC_RMID, NULL) == 0);
    end_call(&c, "queue removed");
}

static sem_t notified;
static void on_message(union sigval value) {
    CHECK(value.sival_int == 42);
    sem_post(&notified);
}
static long do_receive(int queue) {
    char data[32];
    return mq_receive(queue, data, sizeof data, NULL);
}
static long do_timed(int queue) {
    char data[32];
    struct timespec until = after_ms(CLOCK_REALTIME, 40);
    return mq_timedreceive(queue, data, sizeof data, NULL, &until);
}
static void posix_queues(void) {
    char name[64];
    snprintf(name, sizeof name, "/pfiber-twin-%d", getpid());
    struct mq_attr a = {.mq_maxmsg = 2, .mq_msgsize = 32};
    mqd_t q = mq_open(name, O_CREAT | O_RDWR, 0600, &a);
    CHECK(q >= 0);
    CHECK(sem_init(&notified, 0, 0) == 0);
    struct sigevent e = {.sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 42};
    e.sigev_notify_function = on_message;
    say("notify", mq_notify(q, &e));
    say("notify twice", mq_notify(q, &e));
    CHECK(mq_send(q, "one", 3, 1) == 0);
    wait_sem(&notified);
    say("notified", do_receive(q));
    say("timed", do_timed(q));
    struct call c;
    begin_call(&c, do_receive, q);
    pid_t child = fork();
    if (child == 0) _exit(mq_send(q, "child", 5, 9) == 0 ? 3 : 4);
    end_call(&c, "from a child");
    CHECK(exited_with(reap(child), 3));
    say("short buffer", mq_receive(q, name, 5, NULL));
    mq_unlink(name);
    mq_close(q);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    files();
    system_five();
    posix_queues();
    return 0;
}
