// flags: -ldl
// module: cpp_tls.cc
// thread_local objects of a library opened while threads exist: built in each thread that uses
// them, destroyed at each thread's end; exceptions inside the library work on every thread.
#include <dlfcn.h>

#include "switching.h"

static int (*append)(char);
static int (*throws)(int);
static int opened, ready;

static void* body(void* argument) {
    long n = reinterpret_cast<long>(argument);
    bump(&ready);
    wait_for(&opened, 1);
    int length = append('x');
    for (int i = 1; i < 20; i++) {
        move_about(3);
        CHECK_EQ(append('y'), length + i);
        CHECK_EQ(throws(static_cast<int>(n)), n);
    }
    if (n % 2) pthread_exit(reinterpret_cast<void*>(1L));
    return reinterpret_cast<void*>(1L);
}

int main() {
    pthread_t t[8];
    for (long i = 0; i < 4; i++) t[i] = spawn(body, reinterpret_cast<void*>(i));
    wait_for(&ready, 4);
    void* library = dlopen(MODULE_DIR "/cpp_tls.so", RTLD_NOW);
    if (!library) check_failed(__FILE__, __LINE__, "dlopen", ": %s", dlerror());
    append = reinterpret_cast<int (*)(char)>(dlsym(library, "cpp_append"));
    throws = reinterpret_cast<int (*)(int)>(dlsym(library, "cpp_throw"));
    int* built = static_cast<int*>(dlsym(library, "cpp_built"));
    int* destroyed = static_cast<int*>(dlsym(library, "cpp_destroyed"));
    bump(&opened);
    for (long i = 4; i < 8; i++) t[i] = spawn(body, reinterpret_cast<void*>(i));
    long ended = 0;
    for (int i = 0; i < 8; i++) ended += reinterpret_cast<long>(join(t[i]));
    printf("ended %ld, built %d, destroyed %d\n", ended, *built, *destroyed);
    return 0;
}
