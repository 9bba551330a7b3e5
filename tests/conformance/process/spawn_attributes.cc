// posix_spawn from eight threads at once: sessions, process groups, masks, defaults, working
// directories, closed and opened descriptors, closefrom; wordexp beside them; the caller's own
// mask, directory and descriptors are untouched.
// limit: 20
// expect: fibers>=8 native_fallbacks=0
#include "../../support/twin.h"
#include <spawn.h>
#include <wordexp.h>
#include <atomic>
#include <string>

extern char** environ;
static std::atomic<int> right;

static std::string run(const char* script, short flags, int pass_as_nine) {
    int out[2];
    CHECK(pipe2(out, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t f;
    posix_spawnattr_t a;
    CHECK(posix_spawn_file_actions_init(&f) == 0 && posix_spawnattr_init(&a) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&f, out[1], 1) == 0);
    if (pass_as_nine >= 0) CHECK(posix_spawn_file_actions_adddup2(&f, pass_as_nine, 9) == 0);
    CHECK(posix_spawn_file_actions_addclosefrom_np(&f, pass_as_nine >= 0 ? 10 : 3) == 0);
    CHECK(posix_spawn_file_actions_addchdir_np(&f, "/usr") == 0);
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    CHECK(posix_spawnattr_setsigdefault(&a, &s) == 0);
    sigemptyset(&s);
    sigaddset(&s, SIGUSR2);
    CHECK(posix_spawnattr_setsigmask(&a, &s) == 0);
    CHECK(posix_spawnattr_setflags(&a, flags) == 0);
    char* shell[] = {(char*)"sh", (char*)"-c", (char*)script, nullptr};
    // Not through the shell, which empties its mask.
    char* grep[] = {(char*)"grep", (char*)"SigBlk", (char*)"/proc/self/status", nullptr};
    char** args = script ? shell : grep;
    pid_t pid;
    CHECK((errno = posix_spawn(&pid, script ? "/bin/sh" : "/bin/grep", &f, &a, args, environ)) ==
          0);
    close(out[1]);
    char b[1024];
    size_t n = take(out[0], b, sizeof b);
    close(out[0]);
    CHECK(exited_with(reap(pid), 0));
    posix_spawn_file_actions_destroy(&f);
    posix_spawnattr_destroy(&a);
    return std::string(b, n);
}

static void* spawns(void*) {
    int fds[2];
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    for (int i = 0; i < 5; i++) {
        put(fds[1], "ninth\n", 6);
        right += run("read x <&9; echo $x; pwd", 0, fds[0]) == "ninth\n/usr\n";
        // Of numbers 3 to 9 nothing is open but what the shell's own test opens.
        right += run("for n in 3 4 5 6 7 8 9; do (: <&$n) 2>/dev/null && echo $n; done; echo none",
                     0, -1) == "none\n";
        // Field 5 and 6 of stat: process group and session are its own.
        right += run("read -r a b c d e f rest </proc/self/stat; test $e = $f && test $e = $$ && "
                     "echo own",
                     POSIX_SPAWN_SETSID, -1) == "own\n";
        right += run(nullptr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF, -1) ==
                 "SigBlk:\t0000000000000800\n";
    }
    wordexp_t w;
    CHECK(wordexp("$(echo one two) three", &w, 0) == 0);
    right += w.we_wordc == 3 && strcmp(w.we_wordv[2], "three") == 0;
    wordfree(&w);
    close(fds[0]);
    close(fds[1]);
    return nullptr;
}

int main() {
    signal(SIGUSR1, SIG_IGN);
    sigset_t before, after;
    pthread_sigmask(SIG_BLOCK, nullptr, &before);
    char cwd[512], cwd_after[512];
    CHECK(getcwd(cwd, sizeof cwd));
    pthread_t t[8];
    for (auto& one : t) one = start(spawns, nullptr);
    for (auto& one : t) finish(one);
    pthread_sigmask(SIG_BLOCK, nullptr, &after);
    CHECK(memcmp(&before, &after, sizeof(long)) == 0);
    CHECK(getcwd(cwd_after, sizeof cwd_after) && strcmp(cwd, cwd_after) == 0);
    printf("%d of 168 right\n", (int)right);
    return right != 168;
}
