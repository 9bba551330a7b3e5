// Cancellation in fgets and getchar on a socket, in opening a FIFO, in connect to a full backlog,
// in popen'ed reads and in F_SETLKW; the FILE's lock is free afterwards.
// expect: fibers>=4
#include "../../support/twin.h"
#include <sys/stat.h>

static FILE* in;
static char path[64];
static sem_t entered;
static sockaddr_un name;
static socklen_t name_size;
static int lock_file, cleaned;

static void* gets_line(void*) {
    char line[64];
    sem_post(&entered);
    (void)!fgets(line, sizeof line, in);
    return nullptr;
}
static void* opens(void*) {
    sem_post(&entered);
    (void)!open(path, O_RDONLY);
    return nullptr;
}
static void* connects(void*) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    pthread_cleanup_push(
        [](void* p) {
            close((int)(intptr_t)p);
            cleaned++;
        },
        (void*)(intptr_t)fd);
    sem_post(&entered);
    connect(fd, (sockaddr*)&name, name_size);
    pthread_cleanup_pop(0);
    return nullptr;
}
static void* locks(void*) {
    struct flock l = {};
    l.l_type = F_WRLCK;
    sem_post(&entered);
    fcntl(lock_file, F_SETLKW, &l);
    return nullptr;
}
static void run(const char* what, void* (*body)(void*)) {
    pthread_t t = start(body, nullptr);
    wait_sem(&entered);
    nap(20);
    CHECK(pthread_cancel(t) == 0);
    CHECK(finish(t) == PTHREAD_CANCELED);
    printf("%s cancelled\n", what);
}

int main() {
    CHECK(sem_init(&entered, 0, 0) == 0);
    int fds[2];
    unix_pair(fds);
    CHECK((in = fdopen(fds[0], "r")));
    run("fgets", gets_line);
    CHECK(ftrylockfile(in) == 0);
    funlockfile(in);
    put(fds[1], "after\n", 6);
    char line[16];
    CHECK(fgets(line, sizeof line, in) && strcmp(line, "after\n") == 0);

    char dir[] = "/tmp/pfiber-twin-XXXXXX";
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/fifo", dir);
    CHECK(mkfifo(path, 0600) == 0);
    run("open", opens);
    CHECK(open(path, O_WRONLY | O_NONBLOCK) == -1 && errno == ENXIO);  // no reader is left behind
    unlink(path);
    rmdir(dir);

    name_size = unix_name(&name, "cancel");
    int ul = socket(AF_UNIX, SOCK_STREAM, 0), first = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(ul, (sockaddr*)&name, name_size) == 0 && listen(ul, 0) == 0);
    CHECK(connect(first, (sockaddr*)&name, name_size) == 0);
    run("connect", connects);
    CHECK(cleaned == 1);

    FILE* f = tmpfile();
    CHECK(f);
    lock_file = fileno(f);
    int hold[2], held[2];
    CHECK(pipe(hold) == 0 && pipe(held) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct flock l = {};
        l.l_type = F_WRLCK;
        CHECK(fcntl(lock_file, F_SETLK, &l) == 0);
        put(held[1], "h", 1);
        char c;
        take(hold[0], &c, 1);
        _exit(0);
    }
    char c;
    CHECK(take(held[0], &c, 1) == 1);
    run("lock", locks);
    put(hold[1], "x", 1);
    CHECK(exited_with(reap(pid), 0));
    return 0;
}
