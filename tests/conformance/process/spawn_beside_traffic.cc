// posix_spawn with file actions and attributes, 1,000 times, while 64 connections carry verified
// traffic: every child prints what it was told to, ends with its code, and no connection loses a
// byte.
// limit: 120
// expect: fibers>=128 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>
#include <spawn.h>

extern char** environ;
static std::atomic<bool> stop;
static std::atomic<long> sent_messages, good_messages;

static void* client(void* arg) {
    int fd = (int)(intptr_t)arg;
    unsigned char out[64], in[64];
    for (int r = 0; !stop; r++) {
        for (int i = 0; i < 64; i++) out[i] = (unsigned char)(r * 3 + fd + i);
        sent_messages++;
        put(fd, out, 64);
        CHECK(take(fd, in, 64) == 64);
        for (int i = 0; i < 64; i++) CHECK(in[i] == (unsigned char)(out[i] + 1));
        good_messages++;
        nap(5);
    }
    close(fd);
    return nullptr;
}

static void* server(void* arg) {
    int fd = (int)(intptr_t)arg;
    unsigned char b[64];
    while (true) {
        size_t n = take(fd, b, 64);
        if (n == 0) break;
        CHECK(n == 64);
        for (unsigned char& c : b) c++;
        put(fd, b, 64);
    }
    close(fd);
    return nullptr;
}

static int spawn_one(int i) {
    int out[2];
    CHECK(pipe2(out, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    CHECK(posix_spawn_file_actions_init(&actions) == 0 && posix_spawnattr_init(&attr) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, out[1], 1) == 0);
    CHECK(posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) == 0);
    CHECK(posix_spawn_file_actions_addclose(&actions, out[0]) == 0);
    CHECK(posix_spawn_file_actions_addchdir_np(&actions, "/tmp") == 0);
    sigset_t mask, defaults;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    CHECK(posix_spawnattr_setsigmask(&attr, &mask) == 0);
    CHECK(posix_spawnattr_setsigdefault(&attr, &defaults) == 0);
    CHECK(posix_spawnattr_setflags(
              &attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP) == 0);
    char script[64], expected[64], got[64];
    snprintf(script, sizeof script, "echo %d $PWD; exit %d", i, i % 100);
    int length = snprintf(expected, sizeof expected, "%d /tmp\n", i);
    char* args[] = {(char*)"sh", (char*)"-c", script, nullptr};
    pid_t pid;
    CHECK((errno = posix_spawn(&pid, "/bin/sh", &actions, &attr, args, environ)) == 0);
    close(out[1]);
    size_t n = take(out[0], got, sizeof got);
    close(out[0]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return exited_with(reap(pid), i % 100) && (int)n == length && memcmp(got, expected, n) == 0;
}

int main() {
    signal(SIGPIPE, SIG_IGN);
    pthread_t t[128];
    for (int i = 0; i < 64; i++) {
        int fds[2];
        tcp_pair(fds);
        t[2 * i] = start(server, (void*)(intptr_t)fds[0]);
        t[2 * i + 1] = start(client, (void*)(intptr_t)fds[1]);
    }
    int good = 0;
    for (int i = 0; i < 1000; i++) good += spawn_one(i);
    pid_t pid;
    char* args[] = {(char*)"nothing", nullptr};
    CHECK(posix_spawn(&pid, "/nonexistent/nothing", nullptr, nullptr, args, environ) == ENOENT);
    CHECK(posix_spawnp(&pid, "no-such-program", nullptr, nullptr, args, environ) == ENOENT);
    stop = true;
    for (pthread_t one : t) finish(one);
    CHECK(sent_messages == good_messages && good_messages >= 64);
    printf("%d spawned children right, no message lost\n", good);
    return good != 1000;
}
