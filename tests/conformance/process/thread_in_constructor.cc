// A loaded object whose constructor creates a thread that waits, works for the program and is
// joined by its destructor at dlclose; loading it from several threads; its thread-local variables
// are per thread.
// flags: -ldl
// expect: fibers>=9
#include "../../support/twin.h"
#include <dlfcn.h>

static const char source[] =
    "#include <pthread.h>\n#include <semaphore.h>\n"
    "static sem_t go, done; static pthread_t t; static volatile int stop, result, runs;\n"
    "static __thread int mine = 11;\n"
    "static void *body(void *p) { (void)p; for (;;) { sem_wait(&go); if (stop) return (void *)9;\n"
    "  runs++; result = runs * mine; mine++; sem_post(&done); } }\n"
    "__attribute__((constructor)) static void up(void) { sem_init(&go, 0, 0); sem_init(&done, 0, "
    "0);\n"
    "  pthread_create(&t, 0, body, 0); }\n"
    "__attribute__((destructor)) static void down(void) { stop = 1; sem_post(&go);\n"
    "  pthread_join(t, 0); }\n"
    "int work(void) { sem_post(&go); sem_wait(&done); return result; }\n"
    "int own(void) { return mine++; }\n";

static void* handle;
static void* uses(void*) {
    int (*own)(void) = (int (*)(void))dlsym(handle, "own");
    CHECK(own && own() == 11 && own() == 12);
    CHECK(!dlsym(handle, "no_such_name") && strstr(dlerror(), "no_such_name"));
    return nullptr;
}

int main() {
    char dir[] = "/tmp/pfiber-twin-XXXXXX", c[64], so[64], command[256];
    CHECK(mkdtemp(dir));
    snprintf(c, sizeof c, "%s/module.c", dir);
    snprintf(so, sizeof so, "%s/module.so", dir);
    FILE* f = fopen(c, "w");
    CHECK(f && fputs(source, f) >= 0 && fclose(f) == 0);
    snprintf(command, sizeof command, "cc -O1 -shared -fPIC -pthread -o %s %s", so, c);
    int built = system(command), product = 0;
    if (built != 0) SKIP("no C compiler");
    for (int round = 0; round < 3; round++) {
        CHECK((handle = dlopen(so, RTLD_NOW)));
        int (*work)(void) = (int (*)(void))dlsym(handle, "work");
        CHECK(work);
        int a = work(), b = work();
        CHECK(a == 11 && b == 24);
        product = a * b;
        pthread_t t[3];
        for (auto& one : t) one = start(uses, nullptr);
        for (auto& one : t) finish(one);
        CHECK(dlclose(handle) == 0);
    }
    unlink(c);
    unlink(so);
    rmdir(dir);
    printf("three rounds, %d\n", product);
    return product != 264;
}
