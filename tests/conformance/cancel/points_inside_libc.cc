// Functions of libc that open, write or wait inside: those that libc itself makes no cancellation
// points pass with a request pending, the others act on it; each as natively.
// expect: fibers>=40 native_fallbacks=0
#include "../../support/twin.h"
#include <aio.h>
#include <dirent.h>
#include <mqueue.h>
#include <net/if.h>
#include <netdb.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <termios.h>

static char name[64], data[4096];
static int pair[2], file, terminal;
static sem_t one;
static FILE* stream;
static aiocb finished;
static const aiocb* const list[] = {&finished};

struct Call {
    const char* name;
    void (*call)();
};
static const Call calls[] = {
    {"sem_open",
     [] {
         sem_t* made = sem_open(name, O_CREAT, 0600, 1);
         CHECK(made != SEM_FAILED);
         sem_t* again = sem_open(name, 0);
         CHECK(again == made);
         sem_close(again);
         sem_close(made);
     }},
    {"sem_unlink", [] { CHECK(sem_unlink(name) == 0); }},
    {"shm_open", [] { CHECK(shm_open(name, O_CREAT | O_RDWR, 0600) >= 0); }},
    {"shm_unlink", [] { shm_unlink(name); }},
    {"mq_open", [] { mq_open(name, O_CREAT | O_RDWR, 0600, nullptr); }},
    {"mq_unlink", [] { mq_unlink(name); }},
    {"opendir", [] { opendir("/"); }},
    {"scandir",
     [] {
         dirent** found = nullptr;
         scandir(
             "/proc/self", &found, [](const dirent*) { return 0; }, alphasort);
     }},
    {"realpath", [] { CHECK(realpath("/proc/..", data)); }},
    {"fopen", [] { fopen("/dev/null", "r"); }},
    {"fclose", [] { fclose(fdopen(dup(file), "r+")); }},
    {"fclose, written",
     [] {
         FILE* opened = fdopen(dup(file), "r+");
         fputs("text", opened);
         fclose(opened);
     }},
    {"fflush",
     [] {
         fputs("text", stream);
         fflush(stream);
     }},
    {"fputs", [] { fputs("text", stream); }},
    {"fgets", [] { (void)!fgets(data, 9, stream); }},
    {"fmemopen", [] { fclose(fmemopen(data, sizeof data, "r+")); }},
    {"popen and pclose", [] { CHECK(pclose(popen("exit 3", "r")) == 3 << 8); }},
    {"tmpfile", [] { tmpfile(); }},
    {"if_nametoindex", [] { if_nametoindex("lo"); }},
    {"ioctl",
     [] {
         int count = -1;
         CHECK(ioctl(pair[0], FIONREAD, &count) == 0 && count == 0);
     }},
    {"sockatmark", [] { sockatmark(pair[0]); }},
    {"ptsname", [] { CHECK(ptsname_r(terminal, data, sizeof data) == 0); }},
    {"grantpt", [] { CHECK(grantpt(terminal) == 0); }},
    {"unlockpt", [] { CHECK(unlockpt(terminal) == 0); }},
    {"posix_openpt", [] { posix_openpt(O_RDWR | O_NOCTTY); }},
    {"tcflush", [] { tcflush(terminal, TCIOFLUSH); }},
    {"tcgetpgrp", [] { tcgetpgrp(terminal); }},
    {"tcdrain", [] { tcdrain(terminal); }},
    {"sendfile", [] { sendfile(pair[0], file, nullptr, 0); }},
    {"flock", [] { CHECK(flock(file, LOCK_SH) == 0); }},
    {"lockf test", [] { lockf(file, F_TEST, 1); }},
    {"lockf", [] { lockf(file, F_LOCK, 1); }},
    {"posix_fallocate", [] { posix_fallocate(file, 0, 16); }},
    {"fallocate", [] { fallocate(file, 0, 0, 16); }},
    {"copy_file_range", [] { copy_file_range(-1, nullptr, -1, nullptr, 1, 0); }},
    {"getrandom", [] { (void)!getrandom(data, 8, 0); }},
    {"getentropy", [] { CHECK(getentropy(data, 8) == 0); }},
    {"sem_clockwait",
     [] {
         const timespec past = {};
         CHECK(sem_clockwait(&one, CLOCK_MONOTONIC, &past) == 0);
         sem_post(&one);
     }},
    {"sem_timedwait",
     [] {
         const timespec past = {};
         sem_timedwait(&one, &past);
     }},
    {"waitid without waiting",
     [] {
         siginfo_t info;
         waitid(P_ALL, 0, &info, WEXITED | WNOHANG);
     }},
    {"aio_suspend, completed", [] { CHECK(aio_suspend(list, 1, nullptr) == 0); }},
    {"aio_suspend, nothing", [] { aio_suspend(list, 0, nullptr); }},
    {"gai_suspend, nothing", [] { gai_suspend(nullptr, 0, nullptr); }},
    {"system", [] { (void)!system("true"); }},
    {"posix_spawn",
     [] {
         char word[] = "true";
         char* words[] = {word, nullptr};
         pid_t child;
         CHECK(posix_spawnp(&child, word, nullptr, nullptr, words, environ) == 0);
     }},
};

static const Call* current;
static volatile bool came_back;

static void* body(void*) {
    CHECK(pthread_cancel(pthread_self()) == 0);
    current->call();
    came_back = true;
    pthread_testcancel();
    return nullptr;
}

int main() {
    snprintf(name, sizeof name, "/pfiber-points-%d", (int)getpid());
    unix_pair(pair);
    CHECK((terminal = posix_openpt(O_RDWR | O_NOCTTY)) >= 0);
    FILE* temporary = tmpfile();
    CHECK(temporary);
    file = fileno(temporary);
    CHECK((stream = tmpfile()) != nullptr && sem_init(&one, 0, 1) == 0);
    finished.aio_fildes = file;
    finished.aio_buf = data;
    finished.aio_nbytes = 1;
    CHECK(aio_read(&finished) == 0);
    while (aio_error(&finished) == EINPROGRESS) sched_yield();
    for (const Call& call : calls) {
        current = &call;
        came_back = false;
        CHECK(finish(start(body, nullptr)) == PTHREAD_CANCELED);
        printf("%s: %s\n", call.name, came_back ? "passed" : "acted on");
    }
    shm_unlink(name);
    while (waitpid(-1, nullptr, 0) > 0) {
    }
    return 0;
}
