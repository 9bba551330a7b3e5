// What runs in which order at the end of a thread and of the process: clean-up handlers,
// thread_local objects, keys in rounds, objects made by key destructors (never destroyed), exit
// handlers that make threads, pthread_exit in main, quick_exit.
// limit: 30
// expect: no-stats
#include "../../support/twin.h"
#include <sys/mman.h>
#include <string>
#include <thread>
static void say(const char* s) {
    put(1, s, strlen(s));
    put(1, "\n", 1);
}
struct T {
    const char* n;
    ~T() {
        nap(1);
        say(n);
    }
};
static thread_local T tl{"tls"};
static T st{"static"};
static pthread_key_t key;
static int rounds;
static void kd(void* v) {
    say("key");
    if (rounds++ < 2) pthread_setspecific(key, v);
    thread_local T late{"late tls"};
    (void)late.n;
}
static void ex() {
    say("atexit");
    pthread_t t = start(
        [](void* a) -> void* {
            say("thread in atexit");
            return a;
        },
        nullptr);
    finish(t);
}
static void* body(void* a) {
    (void)tl.n;
    pthread_setspecific(key, a);
    pthread_cleanup_push([](void*) { say("cleanup"); }, nullptr);
    if (a == (void*)2) pthread_exit(nullptr);
    pthread_cleanup_pop(0);
    return a;
}
static void* run_exit(void*) {
    (void)tl.n;
    pthread_setspecific(key, (void*)3);
    atexit([] { say("atexit of thread"); });
    exit(7);
}
static int lifetime(int kind) {
    pid_t p = fork();
    if (p == 0) {
        atexit(ex);
        pthread_key_create(&key, kd);
        (void)tl.n;
        pthread_setspecific(key, (void*)9);
        finish(start(body, (void*)1));
        finish(start(body, (void*)2));
        switch (kind) {
            case 0:
                exit(3);
            case 1:
                start(run_exit, nullptr);
                for (;;) pause();
            case 2: {
                pthread_detach(start(
                    [](void*) -> void* {
                        nap(20);
                        say("last");
                        return nullptr;
                    },
                    nullptr));
                pthread_exit((void*)5);
            }
            case 3:
                quick_exit(4);
            case 4:
                at_quick_exit([] { say("quick"); });
                std::thread([] { quick_exit(6); }).join();
        }
    }
    int st = reap(p);
    printf("kind %d status %#x\n", kind, st);
    fflush(stdout);
    return st;
}
int main() {
    for (int k = 0; k < 5; k++) lifetime(k);
    return 0;
}
