// Shows:  system calls that sleep 3 ms in the kernel, beside a thread that counts.
// Run:    slow_call handed | retaken | unseen | hinted
// Expect: it counts during every call; on one processor not while nobody sees that a call sleeps.
//
// Four threads make 60 such calls each.  They differ in what a scheduler in user space knows of
// them:
//   handed   semtimedop: it will block, so the processor is given away before the call
//   retaken  io_getevents by libc's syscall(): it may block or not, so the processor stays until
//   the
//            monitor takes it
//   unseen   an inline `syscall` instruction, which no library sees
//   hinted   the same with pfiber_syscall_block_begin and _end of pfiber.h around it
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../../interpose/pfiber.h"

enum { kThreads = 4, kCalls = 60 };

static const char* kind;
static atomic_int left = kThreads, overlapped;
static volatile unsigned long count;
static int semaphore;
static unsigned long context;

static void sleep_in_kernel(void) {
    struct timespec time = {0, 3000000};
    struct sembuf take = {0, -1, 0};
    if (!strcmp(kind, "handed")) {
        semtimedop(semaphore, &take, 1, &time);
    } else if (!strcmp(kind, "retaken")) {
        char event[32];
        syscall(SYS_io_getevents, context, 1L, 1L, event, &time);
    } else {
        long rc = SYS_nanosleep;
        if (!strcmp(kind, "hinted")) pfiber_syscall_block_begin();
        __asm__ volatile("syscall" : "+a"(rc) : "D"(&time), "S"(0L) : "rcx", "r11", "memory");
        if (!strcmp(kind, "hinted")) pfiber_syscall_block_end();
    }
}

static void* caller(void* unused) {
    for (int i = 0; i < kCalls; i++) {
        unsigned long before = count;
        sleep_in_kernel();
        if (count != before) atomic_fetch_add(&overlapped, 1);
        sched_yield();
    }
    atomic_fetch_sub(&left, 1);
    return unused;
}

int main(int argc, char** argv) {
    kind = argc == 2 ? argv[1] : "";
    const char* known[] = {"handed", "retaken", "unseen", "hinted"};
    int is_known = 0;
    for (int i = 0; i < 4; i++) is_known |= !strcmp(kind, known[i]);
    if (!is_known) return fprintf(stderr, "usage: slow_call handed|retaken|unseen|hinted\n"), 2;
    semaphore = semget(IPC_PRIVATE, 1, 0600);
    if (semaphore < 0) return perror("semget"), 1;
    if (syscall(SYS_io_setup, 1L, &context) != 0) return perror("io_setup"), 1;

    pthread_t threads[kThreads];
    for (int i = 0; i < kThreads; i++)
        if (pthread_create(&threads[i], NULL, caller, NULL)) return perror("pthread_create"), 1;
    while (atomic_load(&left) > 0) count++;
    for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
    printf("the count went on during %d of %d calls\n", atomic_load(&overlapped),
           kThreads * kCalls);
    semctl(semaphore, 0, IPC_RMID);
    return 0;
}
