// A program with the note of Go's linker runs on kernel threads: like Go's runtime its threads ask
// the kernel for their ids by inline system calls and signal each other by them.
// expect: fibers=0
#include <sys/syscall.h>

#include "../../support/twin.h"

__asm__(
    ".pushsection .note.go.buildid, \"a\", @note\n"
    ".balign 4\n"
    ".long 4, 4, 4\n"
    ".ascii \"Go\\0\\0\"\n"
    ".ascii \"none\"\n"
    ".popsection\n");

enum { kThreads = 8, kRounds = 100 };

static long inline_call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

static __thread int arrived;
static void on_signal(int number) {
    (void)number;
    arrived++;
}

static pthread_barrier_t barrier;
static long ids[kThreads];

// Each signals the next one by its id, in a round that everybody has entered.
static void* works(void* index) {
    const long me = (long)index;
    ids[me] = inline_call(SYS_gettid, 0, 0, 0);
    for (int i = 0; i < kRounds; i++) {
        pthread_barrier_wait(&barrier);
        CHECK_EQ(inline_call(SYS_tgkill, getpid(), ids[(me + 1) % kThreads], SIGUSR1), 0);
        while (__atomic_load_n(&arrived, __ATOMIC_RELAXED) <= i) usleep(100);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[kThreads];
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    CHECK_OK(sigaction(SIGUSR1, &action, NULL));
    CHECK_OK(pthread_barrier_init(&barrier, NULL, kThreads));
    for (long i = 0; i < kThreads; i++)
        CHECK_OK(pthread_create(&threads[i], NULL, works, (void*)i));
    for (long i = 0; i < kThreads; i++) CHECK_OK(pthread_join(threads[i], NULL));
    printf("%d signals for each of %d threads\n", kRounds, kThreads);
    return 0;
}
