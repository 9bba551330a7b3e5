// fork() in a thread while others block and allocate: the child goes on alone with malloc, its
// thread identity, new threads and new sockets, and its exit code arrives.
// expect: fibers>=4 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static int idle[2];
static std::atomic<bool> stop;
static __thread int mine = 1;

static void* blocked(void*) {
    char c;
    while (read(idle[0], &c, 1) == 1) {
    }
    return nullptr;
}
static void* allocating(void*) {
    for (size_t i = 1; !stop; i++) {
        char* p = (char*)malloc(i % 5000 + 1);
        p[0] = 1;
        free(p);
    }
    return nullptr;
}

static void* forker(void*) {
    mine = 42;
    pthread_t self = pthread_self();
    int right = 0;
    for (int i = 0; i < 10; i++) {
        pid_t parent = getpid(), child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(getppid() == parent && getpid() != parent);
            CHECK(pthread_equal(self, pthread_self()) && mine == 42);
            CHECK(gettid() == getpid());  // The only thread of a process is its leader.
            void* p = malloc(100000);
            CHECK(p);
            free(p);
            CHECK(pingpong(4, 10) == 40);
            nap(2);
            CHECK(waitpid(-1, nullptr, 0) == -1 && errno == ECHILD);
            _exit(10 + i);
        }
        CHECK(mine == 42);
        right += exited_with(reap(child), 10 + i);
    }
    return (void*)(intptr_t)right;
}

int main() {
    CHECK(pipe(idle) == 0);
    pthread_t others[3] = {start(blocked, nullptr), start(allocating, nullptr),
                           start(allocating, nullptr)};
    nap(10);
    int right = (int)(intptr_t)finish(start(forker, nullptr));
    stop = true;
    close(idle[1]);
    for (pthread_t t : others) finish(t);
    CHECK(pingpong(4, 10) == 40);
    printf("%d children ended as they should\n", right);
    return right != 10;
}
