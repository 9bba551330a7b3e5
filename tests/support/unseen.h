// Threads that sleep in inline system calls, which no hook sees: more of them than processors, so
// the others are to get theirs while one sleeps.  Include switching.h first.
#pragma once
#include <sys/syscall.h>

enum { kThreads = 20, kSleeps = 8, kSleepNs = 20000000 };

static long inline_nanosleep(const struct timespec* pause) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_nanosleep), "D"(pause), "S"(0)
                     : "rcx", "r11", "memory");
    return result;
}

static int slept;

static void* sleeper(void* argument) {
    const struct timespec pause = {0, kSleepNs};
    for (int i = 0; i < kSleeps; i++) {
        struct timespec left = pause;
        long rc = inline_nanosleep(&left);
        CHECK(rc == 0 || rc == -EINTR);
        __atomic_fetch_add(&slept, 1, __ATOMIC_RELAXED);
        sched_yield();
    }
    return argument;
}

static void sleep_unseen(void) {
    pthread_t threads[kThreads];
    for (int i = 0; i < kThreads; i++) threads[i] = spawn(sleeper, NULL);
    for (int i = 0; i < kThreads; i++) join(threads[i]);
    printf("%d sleeps\n", slept);
}
