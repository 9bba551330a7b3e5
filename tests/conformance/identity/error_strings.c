// flags: -ldl
// The buffers behind strerror, strsignal and dlerror are the thread's: texts stay as they were
// while others ask for other texts.
#include <dlfcn.h>
#include <signal.h>

#include "switching.h"

static int verified;

static void* body(void* argument) {
    int n = (int)(long)argument;
    char name[64], want[64];
    for (int i = 0; i < 30; i++) {
        CHECK_EQ(dlerror(), NULL);
        snprintf(name, sizeof name, "/nonexistent/lib-%d-%d.so", n, i);
        CHECK_EQ(dlopen(name, RTLD_NOW), NULL);
        const char* error = strerror(10000 + n);
        const char* signal_text = strsignal(5000 + n);
        move_about(4);
        snprintf(want, sizeof want, "Unknown error %d", 10000 + n);
        CHECK_STR(error, want);
        snprintf(want, sizeof want, "Unknown signal %d", 5000 + n);
        CHECK_STR(signal_text, want);
        const char* text = dlerror();
        CHECK(text != NULL && strstr(text, name) != NULL);
        move_about(3);
        CHECK(strstr(text, name) != NULL);
        CHECK_EQ(dlerror(), NULL);
        char buffer[64];
        CHECK_STR(strerror_r(10000 + n, buffer, sizeof buffer), strerror(10000 + n));
        bump(&verified);
    }
    return NULL;
}

int main(void) {
    pthread_t t[10];
    for (long i = 0; i < 10; i++) t[i] = spawn(body, (void*)i);
    for (int i = 0; i < 10; i++) join(t[i]);
    printf("verified %d\n", verified);
    return 0;
}
