// A constructor that sleeps while it holds the loader's lock: threads that do not need the lock go
// on, threads that do (dlopen, dl_iterate_phdr, a C++ exception) get it afterwards.
// module: slow_constructor.c
// flags: -rdynamic
// limit: 60
// expect: fibers>=6 native_fallbacks=0 locked=0
#include "../../support/twin.h"

#include <dlfcn.h>
#include <link.h>

// Looked for by the module.
extern "C" {
volatile int turns;
}
static volatile bool done, loading;
static void* goes_on(void*) {
    while (!done) {
        turns = turns + 1;
        nap(1);
    }
    return nullptr;
}

static void* loads(void*) {
    loading = true;
    const int before = turns;
    void* module = dlopen(MODULE_DIR "/slow_constructor.so", RTLD_NOW);
    CHECK(module != nullptr);
    const int* constructed = (int*)dlsym(module, "constructed");
    CHECK(constructed != nullptr && *constructed == 1);
    CHECK_GT(turns, before);
    return module;
}

static int visit(dl_phdr_info*, size_t, void* count) {
    ++*(int*)count;
    return 0;
}
static void* looks(void*) {
    while (!loading) nap(1);
    int objects = 0;
    dl_iterate_phdr(visit, &objects);
    CHECK_GT(objects, 2);
    int caught = 0;
    try {
        throw 7;
    } catch (int number) {
        caught = number;
    }
    CHECK_EQ(caught, 7);
    return nullptr;
}

int main() {
    const pthread_t counter = start(goes_on, nullptr);
    pthread_t loaders[2], lookers[3];
    for (auto& one : loaders) one = start(loads, nullptr);
    for (auto& one : lookers) one = start(looks, nullptr);
    void* module = nullptr;
    for (auto one : loaders) module = finish(one);
    for (auto one : lookers) finish(one);
    CHECK(dlclose(module) == 0);
    const int before = turns;
    CHECK(dlclose(module) == 0);  // the destructor
    CHECK_GT(turns, before);
    done = true;
    finish(counter);
    puts("loaded");
    return 0;
}
