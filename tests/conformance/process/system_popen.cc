// system, popen and pclose in several threads at once beside live connections: output, input and
// exit statuses are right; a pipe of one popen is not leaked into another's child.
// limit: 20
// expect: fibers>=8 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static std::atomic<int> good;

static void* commands(void* arg) {
    int id = (int)(intptr_t)arg;
    char command[128], line[128], expected[128];
    for (int i = 0; i < 5; i++) {
        snprintf(command, sizeof command, "exit %d", id + i);
        int status = system(command);
        good += exited_with(status, id + i);
        snprintf(command, sizeof command, "echo out %d; exit %d", id * 100 + i, id);
        FILE* f = popen(command, "re");
        CHECK(f);
        snprintf(expected, sizeof expected, "out %d\n", id * 100 + i);
        CHECK(fgets(line, sizeof line, f) && strcmp(line, expected) == 0);
        CHECK(!fgets(line, sizeof line, f) && feof(f));
        good += exited_with(pclose(f), id);
        // The shell checks what it is fed: cat ends only when the last writer has closed the pipe.
        f = popen("test \"$(cat)\" = \"fed text\"", "w");
        CHECK(f && fputs("fed text\n", f) >= 0);
        good += exited_with(pclose(f), 0);
    }
    return nullptr;
}

static void* echo_client(void*) {
    for (int i = 0; i < 20; i++) CHECK(pingpong(2, 5) == 10);
    return nullptr;
}

int main() {
    pthread_t t[8];
    for (int i = 0; i < 6; i++) t[i] = start(commands, (void*)(intptr_t)(i + 1));
    for (int i = 6; i < 8; i++) t[i] = start(echo_client, nullptr);
    for (pthread_t one : t) finish(one);
    CHECK(system(nullptr) != 0);
    CHECK(exited_with(system("nonexistent-command-of-a-twin 2>/dev/null"), 127));
    int killed = system("kill -TERM $$");
    CHECK(WIFSIGNALED(killed) && WTERMSIG(killed) == SIGTERM);
    printf("%d of 90 right\n", (int)good);
    return good != 90;
}
