// A thread owns a descriptor (F_SETOWN_EX, F_OWNER_TID): the getters tell its id, and SIGIO or the
// signal of F_SETSIG comes to that thread alone, to a handler and to sigwaitinfo.
// expect: fibers>=3
#include <fcntl.h>
#include <sys/socket.h>

#include "../../support/twin.h"

static volatile int handled, wrong;
static __thread int is_owner;
static int pair[3][2];
static sem_t ready;

static void handler(int sig, siginfo_t* info, void* context) {
    (void)sig;
    (void)info;
    (void)context;
    if (!is_owner) wrong++;
    handled++;
}

static void own(int fd, int number) {
    struct f_owner_ex owner = {F_OWNER_TID, gettid()}, told = {F_OWNER_PID, 0};
    CHECK(fcntl(fd, F_SETOWN_EX, &owner) == 0);
    CHECK(fcntl(fd, F_GETOWN_EX, &told) == 0 && told.type == F_OWNER_TID);
    CHECK(told.pid == gettid() && fcntl(fd, F_GETOWN) == gettid());
    if (number != 0) CHECK(fcntl(fd, F_SETSIG, number) == 0 && fcntl(fd, F_GETSIG) == number);
    CHECK(fcntl(fd, F_SETFL, O_ASYNC) == 0);
}

static void* handles(void* argument) {
    const int number = (int)(intptr_t)argument;
    is_owner = 1;
    own(pair[number != 0][0], number);
    int before = handled;
    sem_post(&ready);
    while (handled == before) usleep(200);
    is_owner = 0;
    return NULL;
}

static void* waits(void* unused) {
    (void)unused;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 6);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    own(pair[2][0], SIGRTMIN + 6);
    sem_post(&ready);
    siginfo_t info;
    CHECK(sigwaitinfo(&set, &info) == SIGRTMIN + 6);
    CHECK(info.si_code == POLL_IN && info.si_fd == pair[2][0] && (info.si_band & POLLIN) != 0);
    return NULL;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGIO, &action, NULL) == 0);
    CHECK(sigaction(SIGRTMIN + 5, &action, NULL) == 0);
    CHECK(sem_init(&ready, 0, 0) == 0);
    const int numbers[] = {0, SIGRTMIN + 5};
    for (int i = 0; i < 3; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair[i]) == 0);
        pthread_t t;
        CHECK(pthread_create(&t, NULL, i < 2 ? handles : waits,
                             (void*)(intptr_t)(i < 2 ? numbers[i] : 0)) == 0);
        wait_sem(&ready);
        CHECK(write(pair[i][1], "x", 1) == 1);
        CHECK(pthread_join(t, NULL) == 0);
    }
    struct f_owner_ex process = {F_OWNER_PID, getpid()}, nobody = {F_OWNER_TID, 0x3ffffff0};
    CHECK(fcntl(pair[0][0], F_SETOWN_EX, &process) == 0 && fcntl(pair[0][0], F_GETOWN) == getpid());
    CHECK(fcntl(pair[0][0], F_GETOWN_EX, &nobody) == 0 && nobody.type == F_OWNER_PID);
    nobody.type = F_OWNER_TID;
    nobody.pid = 0x3ffffff0;
    CHECK(fcntl(pair[0][0], F_SETOWN_EX, &nobody) == -1 && errno == ESRCH);
    CHECK(fcntl(pair[0][0], F_SETOWN_EX, NULL) == -1 && errno == EFAULT);
    printf("handled %d, wrong %d\n", handled, wrong);
    return 0;
}
