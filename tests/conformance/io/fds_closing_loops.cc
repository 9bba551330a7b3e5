// The ways in which daemons close everything above 2, after threads exist: a loop over
// getdtablesize, over sysconf, over /proc/self/fd, closefrom, close_range.  After each the numbers
// start at 3, waiting threads saw their pipes end, and new threads, connections, timers and polls
// work.
// limit: 30
#include "../../support/twin.h"
#include <dirent.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <vector>

static void* until_end(void* arg) {
    char c;
    ssize_t n = read((int)(intptr_t)arg, &c, 1);
    // Late threads meet a number that is closed already.
    CHECK(n == 0 || (n == -1 && errno == EBADF));
    return nullptr;
}
static void* sleeper(void*) {
    nap(40);
    return nullptr;
}

static const struct {
    const char* name;
    void (*close_all)();
} ways[] = {
    {"getdtablesize",
     [] {
         for (int fd = getdtablesize() - 1; fd > 2; fd--) close(fd);
     }},
    {"sysconf",
     [] {
         for (int fd = 3; fd < sysconf(_SC_OPEN_MAX); fd++) close(fd);
     }},
    {"/proc/self/fd",
     [] {
         DIR* d = opendir("/proc/self/fd");
         CHECK(d);
         std::vector<int> all;
         while (dirent* e = readdir(d))
             if (atoi(e->d_name) > 2) all.push_back(atoi(e->d_name));
         closedir(d);
         for (int fd : all) close(fd);
     }},
    {"closefrom", [] { closefrom(3); }},
    {"close_range", [] { CHECK(close_range(3, ~0u, 0) == 0); }},
    {"close_range syscall", [] { CHECK(syscall(SYS_close_range, 3u, ~0u, 0u) == 0); }},
};

static void* everything_works(void*) {
    CHECK(pingpong(6, 10) == 60);
    int fds[2];
    tcp_pair(fds);
    put(fds[0], "abc", 3);
    char b[3];
    CHECK(take(fds[1], b, 3) == 3);
    pollfd p = {fds[1], POLLIN, 0};
    CHECK(poll(&p, 1, 20) == 0);
    close(fds[0]);
    close(fds[1]);
    return (void*)1;
}

int main() {
    // A limit that the loops get through quickly on any machine.
    rlimit r = {1024, 1024};
    rlimit old;
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    if (old.rlim_max < 1024) r.rlim_cur = r.rlim_max = old.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
    for (auto& way : ways) {
        std::vector<pthread_t> t;
        for (int i = 0; i < 5; i++) {
            int fds[2];
            CHECK(pipe(fds) == 0);
            t.push_back(start(until_end, (void*)(intptr_t)fds[0]));
        }
        t.push_back(start(sleeper, nullptr));
        nap(10);
        way.close_all();
        for (int fd = 3; fd < 1024; fd++) CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF);
        int first = open("/dev/null", O_RDONLY), second = dup(first);
        CHECK(first == 3 && second == 4);
        for (pthread_t one : t) finish(one);
        CHECK(everything_works(nullptr) && finish(start(everything_works, nullptr)));
        close(first);
        close(second);
        printf("%s: first new descriptor %d\n", way.name, first);
    }
    return 0;
}
