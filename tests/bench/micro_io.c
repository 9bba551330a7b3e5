// The micro benchmarks about memory, timers, files and process start.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "micro.h"

extern char** environ;

static int by_value(const void* a, const void* b) {
    int64_t x = *(const int64_t*)a, y = *(const int64_t*)b;
    return x < y ? -1 : x > y;
}

static void report_named(const char* name, const char* suffix, double value) {
    char full[80];
    snprintf(full, sizeof full, "%s-%s", name, suffix);
    report_value(full, value);
}

void report_percentiles(const char* name, int64_t* values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    report_named(name, "p50", (double)values[count / 2]);
    report_named(name, "p99", (double)values[count * 99 / 100]);
    report_named(name, "max", (double)values[count - 1]);
}

// --- alive: what a blocked thread costs -----------------------------------------------------

static pthread_mutex_t alive_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t alive_release = PTHREAD_COND_INITIALIZER;
static pthread_cond_t alive_full = PTHREAD_COND_INITIALIZER;
static long alive_waiting, alive_wanted;
static int alive_open;

static void* wait_for_release(void* arg) {
    pthread_mutex_lock(&alive_lock);
    if (++alive_waiting == alive_wanted) pthread_cond_signal(&alive_full);
    while (!alive_open) pthread_cond_wait(&alive_release, &alive_lock);
    alive_waiting--;
    pthread_mutex_unlock(&alive_lock);
    return arg;
}

static long field_of(const char* path, const char* field) {
    char line[256];
    long value = -1;
    FILE* file = fopen(path, "r");
    must(file != NULL, path);
    while (value < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0) value = atol(line + strlen(field));
    fclose(file);
    return value;
}

static const struct {
    const char *name, *path, *field;
} kMemory[] = {
    {"rss", "/proc/self/status", "VmRSS:"},
    {"pagetables", "/proc/self/status", "VmPTE:"},
    {"kstack", "/proc/meminfo", "KernelStack:"},
    {"slab", "/proc/meminfo", "Slab:"},
};

void bench_alive(long count) {
    if (!count) count = 100000;
    pthread_t* threads = malloc((size_t)count * sizeof *threads);
    must(threads != NULL, "memory");
    memset(threads, 0, (size_t)count * sizeof *threads);  // its pages are not the threads' cost
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    must(pthread_attr_setstacksize(&attributes, 65536) == 0, "stack size");
    long before[4], made = 0, joined = 0;
    for (int i = 0; i < 4; i++) before[i] = field_of(kMemory[i].path, kMemory[i].field);

    alive_wanted = count;
    meter start = meter_start();
    int error = 0;
    for (; made < count; made++)
        if ((error = pthread_create(&threads[made], &attributes, wait_for_release, NULL))) break;
    pthread_mutex_lock(&alive_lock);
    alive_wanted = made;
    while (alive_waiting < made) pthread_cond_wait(&alive_full, &alive_lock);
    pthread_mutex_unlock(&alive_lock);
    meter_report("alive-create", start, (uint64_t)(made ? made : 1));
    if (error) printf("alive-stopped %d %s\n", error, strerror(error));
    report_value("alive-reached", (double)made);
    report_value("alive-kernel-threads", (double)field_of("/proc/self/status", "Threads:"));

    double total = 0;
    for (int i = 0; i < 4; i++) {
        long growth = field_of(kMemory[i].path, kMemory[i].field) - before[i];
        double each = (double)growth / (double)(made ? made : 1);
        report_named("alive-kb", kMemory[i].name, each);
        total += each;
    }
    report_named("alive-kb", "total", total);

    start = meter_start();
    pthread_mutex_lock(&alive_lock);
    alive_open = 1;
    pthread_cond_broadcast(&alive_release);
    pthread_mutex_unlock(&alive_lock);
    for (; joined < made; joined++) must(pthread_join(threads[joined], NULL) == 0, "join");
    must(alive_waiting == 0, "somebody was not woken");
    meter_report("alive-release", start, (uint64_t)(made ? made : 1));
    free(threads);
}

// --- nanosleep, hog: how late a sleeper wakes -----------------------------------------------

static void measure_sleeps(const char* name, long sleep_ns, int count) {
    int64_t* late = malloc((size_t)count * sizeof *late);
    struct timespec pause = {0, sleep_ns};
    for (int i = 0; i < count; i++) {
        uint64_t start = wall_now();
        must(nanosleep(&pause, NULL) == 0, "nanosleep");
        late[i] = (int64_t)(wall_now() - start) - sleep_ns;
        must(late[i] >= 0, "woken too early");
    }
    report_percentiles(name, late, count);
    free(late);
}

static void* sleep_several(void* arg) {
    static const long kMicroseconds[] = {50, 100, 250, 500, 1000};
    int count = (int)*(long*)arg;
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "nanosleep%ld", kMicroseconds[i]);
        measure_sleeps(name, kMicroseconds[i] * 1000, count);
    }
    return NULL;
}

void bench_nanosleep(long count) {
    if (!count) count = 400;
    pthread_t thread;
    must(pthread_create(&thread, NULL, sleep_several, &count) == 0, "pthread_create");
    pthread_join(thread, NULL);
}

static volatile int hog_stop;
static volatile unsigned long hog_loops;

static void* spin_without_calls(void* arg) {
    unsigned long loops = 0;
    while (!hog_stop) loops++;
    hog_loops = loops;
    return arg;
}

void bench_hog(long count) {
    if (!count) count = 300;
    pthread_t thread;
    must(pthread_create(&thread, NULL, spin_without_calls, NULL) == 0, "pthread_create");
    uint64_t start = wall_now();
    measure_sleeps("hog-sleeper", 1000000, (int)count);
    hog_stop = 1;
    pthread_join(thread, NULL);
    report_value("hog-loop", (double)(wall_now() - start) / (double)(hog_loops ? hog_loops : 1));
}

// --- fsync64, fileserve: calls that may or may not block ------------------------------------

static const char* scratch_folder(void) {
    const char* folder = getenv("TMPDIR");
    return folder && *folder ? folder : "/tmp";
}

// The file has no name any more when this returns, so nothing is left behind.
static int scratch_file(size_t bytes) {
    char path[4096], block[4096];
    snprintf(path, sizeof path, "%s/microXXXXXX", scratch_folder());
    int fd = mkstemp(path);
    must(fd >= 0, "scratch file");
    unlink(path);
    memset(block, 'x', sizeof block);
    for (size_t done = 0; done < bytes; done += sizeof block)
        must(write(fd, block, sizeof block) == sizeof block, "scratch file");
    return fd;
}

static volatile int sync_stop;
static long sync_count;

static void* sync_often(void* arg) {
    int fd = scratch_file(0);
    while (!sync_stop) {
        must(pwrite(fd, "0123456789abcdef", 16, 0) == 16 && fsync(fd) == 0, "fsync");
        __atomic_fetch_add(&sync_count, 1, __ATOMIC_RELAXED);
    }
    close(fd);
    return arg;
}

// COUNT is the time in ms.  Both lines are wall time between two events: how fast files are
// synced, and how fast a computing thread gets on beside it.
void bench_fsync64(long count) {
    if (!count) count = 1000;
    enum { kSyncers = 64 };
    pthread_t threads[kSyncers];
    volatile uint64_t loops = 0;
    for (int i = 0; i < kSyncers; i++)
        must(pthread_create(&threads[i], NULL, sync_often, NULL) == 0, "pthread_create");
    uint64_t start = wall_now(), stop = start + (uint64_t)count * 1000000u, end = start;
    while (end < stop) {
        for (int i = 0; i < 1000; i++) loops = loops + 1;
        end = wall_now();
    }
    long synced = __atomic_load_n(&sync_count, __ATOMIC_RELAXED);
    sync_stop = 1;
    report_value("fsync64-count", (double)(end - start) / (double)loops);
    report_value("fsync64-fsync", (double)(end - start) / (double)(synced ? synced : 1));
    for (int i = 0; i < kSyncers; i++) pthread_join(threads[i], NULL);
}

static int served_fd;
static long served_reads;

static void* read_cached(void* arg) {
    char block[4096];
    for (long i = 0; i < served_reads; i++)
        must(pread(served_fd, block, sizeof block, (i & 15) * 4096) == sizeof block &&
                 block[i & 4095] == 'x',
             "pread");
    return arg;
}

void bench_fileserve(long count) {
    enum { kReaders = 8 };
    pthread_t threads[kReaders];
    served_reads = count ? count : 50000;
    served_fd = scratch_file(65536);
    meter start = meter_start();
    for (int i = 0; i < kReaders; i++)
        must(pthread_create(&threads[i], NULL, read_cached, NULL) == 0, "pthread_create");
    for (int i = 0; i < kReaders; i++) pthread_join(threads[i], NULL);
    meter_report("fileserve", start, kReaders * (uint64_t)served_reads);
}

// --- startup: what LD_PRELOAD costs a program that has no threads ---------------------------

static void run_once(char** command, char** environment, int64_t* wall_ns, int64_t* cpu_ns) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    pid_t child;
    int status;
    struct rusage used;
    uint64_t start = wall_now();
    must(posix_spawnp(&child, command[0], &actions, NULL, command, environment) == 0, "spawn");
    must(wait4(child, &status, 0, &used) == child && status == 0, "exit status of the program");
    *wall_ns = (int64_t)(wall_now() - start);
    *cpu_ns = ((int64_t)used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000000 +
              ((int64_t)used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000;
    posix_spawn_file_actions_destroy(&actions);
}

// The library to preload comes in STARTUP_PRELOAD, because this process itself must run without.
// Runs alternate; the cost is the median over the differences of neighbours.
void bench_startup(long count, char** command) {
    if (!count) count = 200;
    const char* library = getenv("STARTUP_PRELOAD");
    must(library && *library, "STARTUP_PRELOAD is not set");
    char preload[4096];
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library);
    int n = 0;
    while (environ[n]) n++;
    char** with = calloc((size_t)n + 2, sizeof *with);
    with[0] = preload;
    memcpy(with + 1, environ, (size_t)n * sizeof *with);

    int64_t *wall[3], *cpu[3];
    for (int i = 0; i < 3; i++) {
        wall[i] = calloc((size_t)count, sizeof **wall);
        cpu[i] = calloc((size_t)count, sizeof **cpu);
    }
    for (long i = -3; i < count; i++) {  // the first runs warm the file cache
        long at = i < 0 ? 0 : i;
        run_once(command, environ, &wall[0][at], &cpu[0][at]);
        run_once(command, with, &wall[1][at], &cpu[1][at]);
        wall[2][at] = wall[1][at] - wall[0][at];
        cpu[2][at] = cpu[1][at] - cpu[0][at];
    }
    static const char* const kNames[] = {"startup-native", "startup-preload", "startup-cost"};
    for (int i = 0; i < 3; i++) {
        qsort(wall[i], (size_t)count, sizeof **wall, by_value);
        qsort(cpu[i], (size_t)count, sizeof **cpu, by_value);
        printf("%s %.1f %.1f\n", kNames[i], (double)wall[i][count / 2], (double)cpu[i][count / 2]);
    }
}
