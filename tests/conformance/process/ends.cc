// How a process with running threads ends: exit from a thread, return from main, _exit,
// quick_exit, abort, fatal signals in threads, pthread_exit in main; the status and the exit
// handlers that ran are those of a native one.
// limit: 30
#include "../../support/twin.h"
#include <string>
#include <sys/resource.h>

static int note_fd = -1;
static void note(const char* text) { put(note_fd, text, strlen(text)); }

static void* busy(void*) {
    volatile unsigned long spin = 0;
    while (true) spin = spin + 1;
}
static void* blocked(void* arg) {
    char c;
    (void)!read((int)(intptr_t)arg, &c, 1);
    return nullptr;
}
static void* late(void*) {
    nap(30);
    note("late ");
    return nullptr;
}
static void in_thread(void* (*body)(void*)) {
    pthread_join(start(body, nullptr), nullptr);
    nap(10000);
}

struct Destroyed {
    ~Destroyed() {
        if (note_fd >= 0) note("static ");
    }
};
static Destroyed destroyed;

static const struct {
    const char* name;
    void (*end)();
} ends[] = {
    {"exit in main", [] { exit(3); }},
    {"exit in a thread", [] { in_thread([](void*) -> void* { exit(4); }); }},
    {"_exit in a thread", [] { in_thread([](void*) -> void* { _exit(5); }); }},
    {"_Exit", [] { _Exit(6); }},
    {"quick_exit in a thread", [] { in_thread([](void*) -> void* { quick_exit(7); }); }},
    {"abort in a thread", [] { in_thread([](void*) -> void* { abort(); }); }},
    {"SIGSEGV in a thread",
     [] {
         in_thread([](void*) -> void* {
             volatile int* volatile nowhere = nullptr;
             *nowhere = 1;
             return nullptr;
         });
     }},
    {"SIGFPE in main",
     [] {
         volatile int zero = 0;
         zero = 100 / zero;
     }},
    {"SIGTERM to the process",
     [] {
         kill(getpid(), SIGTERM);
         nap(10000);
     }},
    {"SIGKILL to a thread",
     [] {
         int never[2];  // standard input may be at its end: the thread would be gone by then
         CHECK(pipe(never) == 0);
         pthread_t t = start(blocked, (void*)(intptr_t)never[0]);
         pthread_kill(t, SIGKILL);
         nap(10000);
     }},
    {"SIGALRM by alarm",
     [] {
         alarm(1);
         in_thread(busy);
     }},
    {"pthread_exit in main",
     [] {
         start(late, nullptr);  // the last thread to end ends the process
         pthread_exit(nullptr);
     }},
    {"terminate", [] { in_thread([](void*) -> void* { throw 1; }); }},
};

int main() {
    rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    for (auto& e : ends) {
        fflush(stdout);  // exit in a child would print it again
        int report[2], hold[2];
        CHECK(pipe(report) == 0 && pipe(hold) == 0);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            close(report[0]);
            dup2(open("/dev/null", O_WRONLY), 2);
            note_fd = report[1];
            atexit([] { note("atexit "); });
            at_quick_exit([] { note("quick "); });
            bool last = strcmp(e.name, "pthread_exit in main") == 0;
            for (int i = 0; i < 3 && !last; i++) {
                start(busy, nullptr);
                start(blocked, (void*)(intptr_t)hold[0]);
            }
            nap(10);
            e.end();
            _exit(99);
        }
        close(report[1]);
        char b[256] = "";
        size_t n = take(report[0], b, sizeof b - 1);
        int status = reap(pid);
        printf("%s: %s %d, ran %.*s\n", e.name, WIFEXITED(status) ? "code" : "signal",
               WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), (int)n, b);
        close(report[0]);
        close(hold[0]);
        close(hold[1]);
    }
    return 0;
}
