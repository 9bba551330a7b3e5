// Record locks belong to the process, those of F_OFD_SETLK to the open file: threads share the
// former; a wait that would close a circle of processes fails with EDEADLK; closing any descriptor
// of the file gives the process's locks up.
// expect: fibers>=2
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "switching.h"

static int file;

static int lock(int fd, int command, int type, int start) {
    struct flock l = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = 1};
    return fcntl(fd, command, &l);
}

static void* has_it_too(void* unused) {
    (void)unused;
    CHECK_EQ(lock(file, F_SETLK, F_WRLCK, 0), 0);
    CHECK_EQ(lock(file, F_SETLKW, F_WRLCK, 0), 0);
    return NULL;
}

static void* wants_open_file(void* fd) {
    CHECK_EQ(lock((int)(long)fd, F_OFD_SETLKW, F_WRLCK, 5), 0);
    return NULL;
}

static void circle(void) {
    int ready[2];
    CHECK_EQ(pipe(ready), 0);
    pid_t child = fork();
    CHECK_GE(child, 0);
    if (child == 0) {
        if (lock(file, F_SETLKW, F_WRLCK, 1) != 0 || write(ready[1], "x", 1) != 1) _exit(1);
        // Whoever comes second closes the circle and is told; the other then gets what it wants.
        int rc = lock(file, F_SETLKW, F_WRLCK, 0);
        _exit(rc == 0 ? 0 : errno == EDEADLK ? 2 : 3);
    }
    char c;
    CHECK_EQ(read(ready[0], &c, 1), 1);
    int rc = lock(file, F_SETLKW, F_WRLCK, 1), status;
    CHECK(rc == 0 || errno == EDEADLK);
    if (rc != 0) CHECK_EQ(lock(file, F_SETLK, F_UNLCK, 0), 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(WEXITSTATUS(status), rc == 0 ? 2 : 0);
    close(ready[0]);
    close(ready[1]);
    puts("one of the two was told");
}

int main(void) {
    file = memfd_create("locked", MFD_CLOEXEC);
    CHECK_GE(file, 0);
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    CHECK_EQ(lock(file, F_SETLK, F_WRLCK, 0), 0);
    join(spawn(has_it_too, NULL));
    circle();
    CHECK_EQ(lock(file, F_SETLK, F_WRLCK, 0), 0);
    int other = open(name, O_RDWR | O_CLOEXEC);
    CHECK_GE(other, 0);
    CHECK_EQ(lock(file, F_OFD_SETLK, F_WRLCK, 5), 0);
    CHECK_ERRNO(lock(other, F_OFD_SETLK, F_WRLCK, 5), EAGAIN);
    pthread_t t = spawn(wants_open_file, (void*)(long)other);
    likely_blocked();
    CHECK_EQ(lock(file, F_OFD_SETLK, F_UNLCK, 5), 0);
    join(t);
    CHECK_EQ(close(other), 0);  // and with it the process's lock of byte 0
    pid_t child = fork();
    if (child == 0) _exit(lock(file, F_SETLK, F_WRLCK, 0) == 0 ? 0 : 1);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    printf("free %d\n", WEXITSTATUS(status) == 0);
    return 0;
}
