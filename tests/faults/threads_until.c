// Threads until the first refusal; what is left must work, and go on working.
// usage: threads_until MOST-THREADS STACK-KIB [MALLOC-MIB]
#include "twin.h"

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static void* waits(void* arg) {
    CHECK_OK(pthread_mutex_lock(&gate));
    CHECK_OK(pthread_mutex_unlock(&gate));
    return arg;
}

static int round_of(int most, pthread_attr_t* attributes) {
    pthread_t* threads = calloc((size_t)most, sizeof *threads);
    CHECK(threads != NULL);
    CHECK_OK(pthread_mutex_lock(&gate));
    int count = 0, rc = 0;
    while (count < most &&
           (rc = pthread_create(&threads[count], attributes, waits, (void*)(intptr_t)count)) == 0)
        count++;
    CHECK(rc == 0 || rc == EAGAIN);
    CHECK_OK(pthread_mutex_unlock(&gate));
    for (int i = 0; i < count; i++) CHECK_EQ((intptr_t)finish(threads[i]), i);
    free(threads);
    return count;
}

int main(int argc, char** argv) {
    CHECK(argc >= 3);
    const int most = atoi(argv[1]);
    pthread_attr_t attributes;
    CHECK_OK(pthread_attr_init(&attributes));
    CHECK_OK(pthread_attr_setstacksize(&attributes, (size_t)atol(argv[2]) * 1024));
    // The number differs from native; that there is one, and what follows it, does not.
    const int first = round_of(most, &attributes);
    printf("%s\n", first == most ? "all" : "refused");
    for (int i = 0; i < 3; i++) CHECK_GE(round_of(most, &attributes) * 10, first * 9);
    if (argc > 3) {
        const size_t size = (size_t)atol(argv[3]) << 20;
        char* memory = malloc(size);
        printf("malloc %s\n", memory == NULL ? "refused" : "works");
        free(memory);
    }
    printf("replies %d\n", pingpong(1, 20));
    return 0;
}
