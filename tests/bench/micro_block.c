// The micro benchmarks about calls that block in the kernel: files in and out of the page cache,
// semaphores shared with another process, FIFO opens, a file system with a slow server.
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "micro.h"

enum { kBlock = 4096, kMostThreads = 64 };

static char folder[64];

static void enter_folder(void) {
    const char* parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.40s/microXXXXXX", parent && *parent ? parent : "/tmp");
    must(mkdtemp(folder) && chdir(folder) == 0, "scratch folder");
}

static void leave_folder(void) { must(chdir("/") == 0 && rmdir(folder) == 0, "scratch folder"); }

static void run_threads(int count, void* (*body)(void*)) {
    pthread_t threads[kMostThreads];
    for (long i = 0; i < count; i++)
        must(pthread_create(&threads[i], NULL, body, (void*)i) == 0, "pthread_create");
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

// --- servefiles: Go issue 15110, a server of files of which one in eight is not in the cache -----

enum { kFiles = 64, kServers = 8 };
static long serve_rounds;
static int serve_cold_one_of;  // 0: all cached

static void serve_one(int index, int is_cold) {
    char path[32], block[kBlock];
    snprintf(path, sizeof path, "file%d", index);
    int fd = open(path, O_RDONLY);
    must(fd >= 0, path);
    if (is_cold) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    must(read(fd, block, kBlock) == kBlock && block[index * 7] == 'a' + index % 26, "read");
    close(fd);
}

static void* serve(void* number) {
    int first = (int)(long)number * (kFiles / kServers);
    for (long i = 0; i < serve_rounds; i++) {
        int is_cold = serve_cold_one_of != 0 && i % serve_cold_one_of == 0;
        serve_one(first + (int)(i % (kFiles / kServers)), is_cold);
    }
    return NULL;
}

static void bench_serve(const char* name, long count, int cold_one_of) {
    serve_rounds = count ? count : 4000;
    serve_cold_one_of = cold_one_of;
    enter_folder();
    char path[32], block[kBlock];
    for (int i = 0; i < kFiles; i++) {
        snprintf(path, sizeof path, "file%d", i);
        memset(block, 'a' + i % 26, sizeof block);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        must(fd >= 0 && write(fd, block, kBlock) == kBlock && fsync(fd) == 0, path);
        close(fd);
    }
    meter start = meter_start();
    run_threads(kServers, serve);
    meter_report(name, start, kServers * (uint64_t)serve_rounds);
    for (int i = 0; i < kFiles; i++) {
        snprintf(path, sizeof path, "file%d", i);
        unlink(path);
    }
    leave_folder();
}

void bench_servefiles(long count) { bench_serve("servefiles", count, 8); }
void bench_servecached(long count) { bench_serve("servecached", count, 0); }

// --- semping: gVisor's pattern, short pings to another process through a blocking call -----------

enum { kPairs = 4 };
static int sem_set;
static long sem_rounds;

static void sem_change(int index, int by) {
    struct sembuf operation = {(unsigned short)index, (short)by, 0};
    while (semop(sem_set, &operation, 1) != 0) must(errno == EINTR, "semop");
}

static void* ping(void* number) {
    int pair = (int)(long)number;
    for (long i = 0; i < sem_rounds; i++) {
        sem_change(2 * pair, 1);
        sem_change(2 * pair + 1, -1);
    }
    return NULL;
}

void bench_semping(long count) {
    sem_rounds = count ? count : 10000;
    sem_set = semget(IPC_PRIVATE, 2 * kPairs, 0600);
    must(sem_set >= 0, "semget");
    pid_t others[kPairs];
    for (int pair = 0; pair < kPairs; pair++) {
        others[pair] = fork();
        must(others[pair] >= 0, "fork");
        if (others[pair] > 0) continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (long i = 0; i < sem_rounds; i++) {
            sem_change(2 * pair, -1);
            sem_change(2 * pair + 1, 1);
        }
        _exit(0);
    }
    meter start = meter_start();
    run_threads(kPairs, ping);
    meter_report("semping", start, kPairs * (uint64_t)sem_rounds);
    for (int pair = 0; pair < kPairs; pair++) {
        int status = 1;
        must(waitpid(others[pair], &status, 0) == others[pair] && status == 0, "the other side");
    }
    semctl(sem_set, 0, IPC_RMID);
}

// --- fifoopen: opens that wait for the other end -------------------------------------------------

static long open_rounds;

// Opens one end, passes a byte, closes.
static void pass_byte(const char* kind, long pair, int flags) {
    char path[32], byte = 'x';
    snprintf(path, sizeof path, "%s%ld", kind, pair);
    int fd = open(path, flags);
    must(fd >= 0, path);
    must((flags == O_RDONLY ? read(fd, &byte, 1) : write(fd, &byte, 1)) == 1 && byte == 'x', path);
    close(fd);
}

// There and back on two FIFOs: whoever opens one knows that its last users have closed it.
static void* open_end(void* number) {
    long index = (long)number;
    for (long i = 0; i < open_rounds; i++) {
        pass_byte("there", index / 2, index % 2 == 0 ? O_WRONLY : O_RDONLY);
        pass_byte("back", index / 2, index % 2 == 0 ? O_RDONLY : O_WRONLY);
    }
    return NULL;
}

void bench_fifoopen(long count) {
    open_rounds = count ? count : 2000;
    enter_folder();
    char path[32];
    for (int i = 0; i < 2 * kPairs; i++) {
        snprintf(path, sizeof path, "%s%d", i % 2 == 0 ? "there" : "back", i / 2);
        must(mkfifo(path, 0600) == 0, path);
    }
    meter start = meter_start();
    run_threads(2 * kPairs, open_end);
    meter_report("fifoopen", start, 4 * kPairs * (uint64_t)open_rounds);
    for (int i = 0; i < 2 * kPairs; i++) {
        snprintf(path, sizeof path, "%s%d", i % 2 == 0 ? "there" : "back", i / 2);
        unlink(path);
    }
    leave_folder();
}

// --- slowstat: a file system whose server takes its time for each answer -------------------------

enum { kStatThreads = 16, kAnswerNs = 300000 };
static long stat_rounds;

static void fuse_answer(int device, const struct fuse_in_header* in, int error, const void* body,
                        size_t size) {
    struct fuse_out_header out = {(uint32_t)(sizeof out + size), error, in->unique};
    struct iovec parts[2] = {{&out, sizeof out}, {(void*)(uintptr_t)body, size}};
    if (writev(device, parts, size > 0 ? 2 : 1) < 0 && errno != ENOENT) _exit(1);
}

static void fuse_serve(int device) {
    static char request[1 << 17];
    const struct fuse_in_header* in = (const struct fuse_in_header*)request;
    struct fuse_attr root = {.ino = 1, .mode = S_IFDIR | 0755, .nlink = 2};
    for (;;) {
        ssize_t size = read(device, request, sizeof request);
        if (size < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;
        if (size <= 0) _exit(0);
        if (in->opcode == FUSE_INIT) {
            struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION,
                                         .minor = FUSE_KERNEL_MINOR_VERSION,
                                         .max_write = 4096,
                                         .max_background = 64,
                                         .congestion_threshold = 64};
            fuse_answer(device, in, 0, &init, sizeof init);
        } else if (in->opcode == FUSE_GETATTR) {
            const struct timespec pause = {0, kAnswerNs};
            nanosleep(&pause, NULL);
            struct fuse_attr_out answer = {.attr_valid = 0, .attr = root};
            fuse_answer(device, in, 0, &answer, sizeof answer);
        } else if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET) {
            fuse_answer(device, in, -ENOSYS, NULL, 0);
        }
    }
}

static void* stat_often(void* arg) {
    struct stat status;
    for (long i = 0; i < stat_rounds; i++)
        must(stat(folder, &status) == 0 && S_ISDIR(status.st_mode), "stat");
    return arg;
}

void bench_slowstat(long count) {
    stat_rounds = count ? count : 300;
    enter_folder();
    must(chdir("/") == 0, "chdir");
    char options[80];
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (device < 0 || mount("micro", folder, "fuse", MS_NOSUID | MS_NODEV, options) != 0) {
        printf("slowstat-stopped %d no FUSE: %s\n", errno, strerror(errno));
        rmdir(folder);
        return;
    }
    pid_t servers[kStatThreads];
    for (int i = 0; i < kStatThreads; i++) {
        servers[i] = fork();
        if (servers[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            fuse_serve(device);
        }
    }
    meter start = meter_start();
    run_threads(kStatThreads, stat_often);
    meter_report("slowstat", start, kStatThreads * (uint64_t)stat_rounds);
    umount2(folder, MNT_DETACH);
    for (int i = 0; i < kStatThreads; i++) {
        kill(servers[i], SIGKILL);
        waitpid(servers[i], NULL, 0);
    }
    close(device);
    leave_folder();
}
