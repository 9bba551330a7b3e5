// Shows:  what a blocked thread costs: N threads wait on one condition variable.
// Run:    many_threads [N]      (1000; try 100000)
// Expect: natively N + 1 kernel threads and an end near kernel.pid_max; under pfiber a handful.
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_here = PTHREAD_COND_INITIALIZER, go = PTHREAD_COND_INITIALIZER;
static long here, released, ran;

static void* blocked(void* arg) {
    (void)arg;
    pthread_mutex_lock(&lock);
    here++;
    pthread_cond_signal(&all_here);
    while (!released) pthread_cond_wait(&go, &lock);
    ran++;
    pthread_mutex_unlock(&lock);
    return NULL;
}

// A line of /proc/self/status such as "Threads:" or "VmRSS:".
static long status_value(const char* key) {
    char line[256];
    long value = -1;
    FILE* f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key))) value = atol(line + strlen(key));
    if (f) fclose(f);
    return value;
}

static double seconds(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}

int main(int argc, char** argv) {
    long n = argc > 1 ? atol(argv[1]) : 1000, made = 0;
    pthread_t* t = calloc(n > 0 ? n : 1, sizeof *t);
    pthread_attr_t attr;
    if (n < 1 || !t) return fprintf(stderr, "usage: %s [N]\n", argv[0]), 2;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * 1024);

    double start = seconds();
    for (; made < n; made++) {
        int err = pthread_create(&t[made], &attr, blocked, NULL);
        if (!err) continue;
        printf("pthread_create number %ld: %s\n", made + 1, strerror(err));
        break;
    }
    pthread_mutex_lock(&lock);
    while (here < made) pthread_cond_wait(&all_here, &lock);
    pthread_mutex_unlock(&lock);
    printf("%ld threads blocked after %.2f s: %ld kernel threads, %.1f MiB resident\n", made,
           seconds() - start, status_value("Threads:"), status_value("VmRSS:") / 1024.0);

    start = seconds();
    pthread_mutex_lock(&lock);
    released = 1;
    pthread_cond_broadcast(&go);
    pthread_mutex_unlock(&lock);
    for (long i = 0; i < made; i++) pthread_join(t[i], NULL);
    printf("%ld threads woken, ended and joined in %.2f s\n", ran, seconds() - start);
    return ran == made && made == n ? 0 : 1;
}
