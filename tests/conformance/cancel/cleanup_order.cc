// Cancellation and pthread_exit run clean-up handlers and C++ destructors innermost first, pass
// through catch (...) that rethrows, then run key destructors and thread_local destructors; join
// sees the value.
// expect: fibers>=3 native_fallbacks=0 locked=0
#include "../../support/twin.h"
#include <string>

static std::string trace;  // written by one thread at a time
static pthread_key_t key;
static sem_t entered;

struct Note {
    char c;
    ~Note() { trace += c; }
};
static void cleanup(void* arg) { trace += (char)(intptr_t)arg; }
static thread_local Note local{'L'};

static void deepest(bool exits) {
    Note n{'3'};
    try {
        Note m{'4'};
        pthread_cleanup_push(cleanup, (void*)'h');
        sem_post(&entered);
        if (exits) pthread_exit((void*)"bye");
        while (true) sleep(100);
        pthread_cleanup_pop(0);
    } catch (...) {
        trace += 'C';
        throw;
    }
}

static void* body(void* arg) {
    (void)local.c;
    CHECK(pthread_setspecific(key, (void*)1) == 0);
    Note n{'1'};
    pthread_cleanup_push(cleanup, (void*)'o');
    {
        Note m{'2'};
        deepest(arg != nullptr);
    }
    pthread_cleanup_pop(0);
    return nullptr;
}

static void* pops(void*) {
    pthread_cleanup_push(cleanup, (void*)'a');
    pthread_cleanup_push(cleanup, (void*)'b');
    pthread_cleanup_push(cleanup, (void*)'c');
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(1);
    return (void*)"returned";
}

int main() {
    CHECK(sem_init(&entered, 0, 0) == 0);
    CHECK(pthread_key_create(&key, [](void*) { trace += 'K'; }) == 0);
    pthread_t t = start(body, nullptr);
    wait_sem(&entered);
    CHECK(pthread_cancel(t) == 0);
    CHECK(finish(t) == PTHREAD_CANCELED);
    printf("cancel: %s\n", trace.c_str());
    std::string first = trace;
    trace.clear();
    t = start(body, (void*)1);
    wait_sem(&entered);
    CHECK(strcmp((char*)finish(t), "bye") == 0);
    printf("exit: %s\n", trace.c_str());
    CHECK(trace == first);
    trace.clear();
    CHECK(strcmp((char*)finish(start(pops, nullptr)), "returned") == 0);
    printf("pops: %s\n", trace.c_str());
    CHECK(trace == "ca");
    return 0;
}
