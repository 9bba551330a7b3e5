// pthread_exit in main while others run: its clean-up runs, main can be joined, the process ends
// with status 0 after the last thread, with atexit handlers and flushed stdio.
#include <stdlib.h>

#include "switching.h"

static int main_cleaned, last;
static pthread_t main_thread;

static void on_exit_(void) { printf("atexit, last thread %d\n", last); }
static void cleaned(void* unused) {
    (void)unused;
    bump(&main_cleaned);
}

static void* goes_on(void* unused) {
    (void)unused;
    void* result = NULL;
    CHECK_OK(pthread_join(main_thread, &result));
    CHECK_EQ((long)result, 77);
    CHECK_EQ(main_cleaned, 1);
    CHECK_OK(pthread_detach(pthread_self()));
    for (int i = 0; i < 50; i++) {
        sched_yield();
        usleep(1);
    }
    printf("main was joined\n");
    last = 1;
    return NULL;
}

int main(void) {
    CHECK_EQ(atexit(on_exit_), 0);
    main_thread = pthread_self();
    spawn(goes_on, NULL);
    pthread_cleanup_push(cleaned, NULL);
    printf("main leaves\n");
    pthread_exit((void*)77);
    pthread_cleanup_pop(0);
    return 9;
}
