// What belongs to the process is one for all threads: working directory, umask, user ids, limits,
// environment, file locks, getpid; times and getrusage grow with the work of all of them.
// expect: fibers>=6
#include "../../support/twin.h"
#include <limits.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/times.h>
#include <atomic>

static sem_t step, answer;
static std::atomic<bool> stop;
static uid_t seen_uid, seen_gid;
static char seen_cwd[PATH_MAX];

static void* observer(void*) {
    while (true) {
        wait_sem(&step);
        if (stop) return nullptr;
        seen_uid = geteuid();
        seen_gid = getegid();
        CHECK(getcwd(seen_cwd, sizeof seen_cwd));
        sem_post(&answer);
    }
}
static void observe() {
    sem_post(&step);
    wait_sem(&answer);
}
static void* waits(void* arg) {
    char c;
    (void)!read((int)(intptr_t)arg, &c, 1);
    // Blocked while the ids changed: has the new ones all the same.
    return (void*)(intptr_t)geteuid();
}
static void* changes(void*) {
    CHECK(seteuid(65534) == 0 && geteuid() == 65534);
    return nullptr;
}
static void* work(void*) {
    volatile unsigned long spin = 0;
    timespec t;
    do {
        for (int i = 0; i < 100000; i++) spin = spin + 1;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    } while (t.tv_nsec < 60000000 && t.tv_sec == 0);
    return nullptr;
}

int main() {
    CHECK(sem_init(&step, 0, 0) == 0 && sem_init(&answer, 0, 0) == 0);
    pthread_t o = start(observer, nullptr);
    CHECK(chdir("/proc") == 0);
    observe();
    CHECK(strcmp(seen_cwd, "/proc") == 0);
    finish(start(
        [](void*) -> void* {
            CHECK(chdir("/tmp") == 0);
            umask(0027);
            CHECK(setenv("TWIN_SHARED", "set", 1) == 0);
            rlimit r;
            CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
            r.rlim_cur = 777 < r.rlim_max ? 777 : r.rlim_max;
            CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
            return nullptr;
        },
        nullptr));
    observe();
    rlimit r;
    CHECK(strcmp(seen_cwd, "/tmp") == 0 && umask(0022) == 0027);
    CHECK(strcmp(getenv("TWIN_SHARED"), "set") == 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0 && (r.rlim_cur == 777 || r.rlim_cur == r.rlim_max));
    puts("directory, umask, environment and limits are shared");

    int hold[2];
    CHECK(pipe(hold) == 0);
    if (geteuid() == 0) {
        pthread_t w = start(waits, (void*)(intptr_t)hold[0]);
        nap(10);
        finish(start(changes, nullptr));
        CHECK(geteuid() == 65534);
        observe();
        CHECK(seen_uid == 65534);
        put(hold[1], "x", 1);
        CHECK(finish(w) == (void*)65534);
        CHECK(open("/etc/shadow", O_RDONLY) == -1 && errno == EACCES);
        CHECK(seteuid(0) == 0);
        observe();
        CHECK(seen_uid == 0);
        CHECK(setegid(65534) == 0);
        observe();
        CHECK(seen_gid == 65534 && setegid(0) == 0);
        // For good, in a child: every thread has them, none can go back.
        pid_t p = fork();
        CHECK(p >= 0);
        if (p == 0) {
            pthread_t t = start(waits, (void*)(intptr_t)hold[0]);
            CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
            put(hold[1], "x", 1);
            CHECK(finish(t) == (void*)65534);
            CHECK(setuid(0) == -1 && errno == EPERM);
            _exit(0);
        }
        CHECK(exited_with(reap(p), 0));
    }
    puts("user ids are shared");  // for an ordinary user there is nothing to change

    // POSIX record locks belong to the process, flock to the description.
    FILE* f = tmpfile();
    struct flock l = {};
    l.l_type = F_WRLCK;
    CHECK(f && fcntl(fileno(f), F_SETLK, &l) == 0);
    finish(start(
        [](void* arg) -> void* {
            struct flock mine = {};
            mine.l_type = F_WRLCK;
            CHECK(fcntl((int)(intptr_t)arg, F_SETLKW, &mine) == 0);
            CHECK(flock((int)(intptr_t)arg, LOCK_EX) == 0);
            return nullptr;
        },
        (void*)(intptr_t)fileno(f)));
    CHECK(flock(fileno(f), LOCK_EX | LOCK_NB) == 0);

    rusage before, after;
    tms t0, t1;
    CHECK(getrusage(RUSAGE_SELF, &before) == 0 && times(&t0) != (clock_t)-1);
    pthread_t w[3];
    for (auto& one : w) one = start(work, nullptr);
    for (auto& one : w) finish(one);
    CHECK(getrusage(RUSAGE_SELF, &after) == 0 && times(&t1) != (clock_t)-1);
    auto us = [](const rusage& u) {
        return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000L + u.ru_utime.tv_usec +
               u.ru_stime.tv_usec;
    };
    CHECK(us(after) - us(before) >= 150000);  // three threads of 60 ms, coarse accounting
    CHECK(t1.tms_utime + t1.tms_stime > t0.tms_utime + t0.tms_stime);
    stop = true;
    sem_post(&step);
    finish(o);
    puts("times cover all threads");
    return 0;
}
