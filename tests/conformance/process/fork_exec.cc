// fork and exec from a thread: the new program gets arguments, environment, the pipes put on 0 and
// 1 and no descriptor or non-blocking flag that a native process would not have.
#include "../../support/twin.h"
#include <algorithm>
#include <string>

extern char** environ;
static char self[4096];

// The listing that the executed image makes of its own descriptors.
static int report() {
    std::string line;
    for (int fd = 0; fd < 4096; fd++) {
        int flags = fcntl(fd, F_GETFL);
        if (flags != -1) line += std::to_string(fd) + ((flags & O_NONBLOCK) ? "N " : " ");
    }
    line += "env " + std::string(getenv("TWIN") ? getenv("TWIN") : "none");
    put(1, line.data(), line.size());
    return 23;
}

static std::string run(bool use_vfork) {
    int out[2], in[2], inherited[2];
    CHECK(pipe2(out, O_CLOEXEC) == 0 && pipe2(in, O_CLOEXEC) == 0);
    CHECK(pipe2(inherited, O_CLOEXEC) == 0);
    char* args[] = {self, (char*)"report", nullptr};
    char* env[64];
    int n = 0;
    // What the loader needs stays; the rest is known.
    for (char** e = environ; *e && n < 60; e++)
        if (strncmp(*e, "TWIN=", 5) != 0) env[n++] = *e;
    env[n++] = (char*)"TWIN=yes";
    env[n] = nullptr;
    pid_t child = use_vfork ? vfork() : fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(inherited[0], 63);
        execve(self, args, env);
        _exit(127);
    }
    close(out[1]);
    char b[4096];
    size_t got = take(out[0], b, sizeof b);
    CHECK(exited_with(reap(child), 23));
    for (int fd : {out[0], in[0], in[1], inherited[0], inherited[1]}) close(fd);
    return std::string(b, got);
}

static void* from_thread(void*) {
    for (int i = 0; i < 5; i++) {
        std::string a = run(false), b = run(true);
        CHECK(a == b);
        CHECK(a.find('N') == std::string::npos);
        if (i == 4) printf("%s\n", a.c_str());
    }
    return nullptr;
}

int main(int argc, char** argv) {
    if (argc > 1 && strcmp(argv[1], "report") == 0) return report();
    // A known start: whoever ran this program may have left descriptors open.
    for (int fd = 3; fd < 1024; fd++) close(fd);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(n > 0);
    int idle[2];
    CHECK(pipe2(idle, O_CLOEXEC) == 0);
    pthread_t waiting = start(twin_ponger, (void*)(intptr_t)idle[0]);
    finish(start(from_thread, nullptr));
    close(idle[1]);
    finish(waiting);
    return 0;
}
