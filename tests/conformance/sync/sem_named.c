// Named semaphores: flags and errors of sem_open, one object for two opens, use between threads and
// with a forked child, unlink while open.
#include <fcntl.h>
#include <semaphore.h>
#include <sys/wait.h>

#include "switching.h"

static sem_t *a, *b;
static char name[64], other_name[64];
static int rounds;

static void* echo(void* unused) {
    (void)unused;
    for (int i = 0; i < 500; i++) {
        CHECK_EQ(sem_wait(a), 0);
        rounds++;
        CHECK_EQ(sem_post(b), 0);
    }
    return NULL;
}

int main(void) {
    snprintf(name, sizeof name, "/pfiber-twin-%d-a", (int)getpid());
    snprintf(other_name, sizeof other_name, "/pfiber-twin-%d-b", (int)getpid());
    CHECK(sem_open(name, 0) == SEM_FAILED && errno == ENOENT);
    CHECK(sem_open("/a/b", O_CREAT, 0600, 0) == SEM_FAILED && errno == EINVAL);
    a = sem_open(name, O_CREAT | O_EXCL, 0600, 3);
    if (a == SEM_FAILED && (errno == EACCES || errno == ENOENT || errno == ENOSYS))
        SKIP("no /dev/shm");
    CHECK(a != SEM_FAILED);
    CHECK(sem_open(name, O_CREAT | O_EXCL, 0600, 3) == SEM_FAILED && errno == EEXIST);
    sem_t* same = sem_open(name, 0);
    CHECK_EQ(same, a);
    CHECK_EQ(sem_close(same), 0);
    for (int i = 0; i < 3; i++) CHECK_EQ(sem_trywait(a), 0);
    CHECK_ERRNO(sem_trywait(a), EAGAIN);
    b = sem_open(other_name, O_CREAT, 0600, 0);
    CHECK(b != SEM_FAILED);
    pthread_t t = spawn(echo, NULL);
    for (int i = 0; i < 500; i++) {
        CHECK_EQ(sem_post(a), 0);
        CHECK_EQ(sem_wait(b), 0);
    }
    join(t);
    pid_t child = fork();
    if (child == 0) {
        echo(NULL);
        _exit(rounds == 1000 ? 17 : 1);
    }
    CHECK_GT(child, 0);
    for (int i = 0; i < 500; i++) {
        CHECK_EQ(sem_post(a), 0);
        CHECK_EQ(sem_wait(b), 0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 17);
    struct timespec soon = clock_after(CLOCK_REALTIME, 10);
    CHECK_ERRNO(sem_timedwait(a, &soon), ETIMEDOUT);
    CHECK(time_reached(CLOCK_REALTIME, soon));
    CHECK_EQ(sem_unlink(name), 0);
    CHECK_ERRNO(sem_unlink(name), ENOENT);
    CHECK_EQ(sem_post(a), 0);
    CHECK_EQ(sem_wait(a), 0);
    CHECK_EQ(sem_close(a), 0);
    CHECK_EQ(sem_unlink(other_name), 0);
    CHECK_EQ(sem_close(b), 0);
    printf("rounds %d\n", rounds);
    return 0;
}
