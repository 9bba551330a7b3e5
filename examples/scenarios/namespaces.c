// Shows:  a thread that enters a network namespace of its own, beside threads that must not see it.
// Run:    namespaces call | unseen | bound      (root)
// Expect: no look from the wrong namespace, except for "unseen" under pfiber.
//
// The case that Weaveworks ran into with Go: the namespace belongs to the kernel thread, and a
// scheduler in user space runs other threads of the program there.
//   call    unshare(), which pfiber knows: the fiber keeps its kernel thread from then on
//   unseen  the same by an inline `syscall` instruction
//   bound   that after pfiber_lockosthread() of pfiber.h
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../interpose/pfiber.h"

enum { kThreads = 16, kLooks = 200 };

static const char* kind;
static char home[64], away[64];
static atomic_int is_away, is_over, strangers, lost, refused;

// The namespace of the kernel thread that runs the caller.
static void look(char* name) {
    ssize_t size = readlink("/proc/thread-self/ns/net", name, 63);
    name[size < 0 ? 0 : size] = 0;
}

static long instruction(long number, long argument) {
    long rc = number;
    __asm__ volatile("syscall" : "+a"(rc) : "D"(argument) : "rcx", "r11", "memory");
    return rc;
}

static void* enters(void* unused) {
    if (!strcmp(kind, "bound")) pfiber_lockosthread();
    long rc =
        !strcmp(kind, "call") ? unshare(CLONE_NEWNET) : instruction(SYS_unshare, CLONE_NEWNET);
    if (rc != 0) atomic_store(&refused, 1);
    look(away);
    atomic_store(&is_away, 1);
    char here[64];
    while (!atomic_load(&is_over)) {
        sched_yield();
        usleep(100);
        look(here);
        if (strcmp(here, away) != 0) atomic_fetch_add(&lost, 1);
    }
    return unused;
}

static void* stays(void* unused) {
    char here[64];
    while (!atomic_load(&is_away)) usleep(1000);
    for (int i = 0; i < kLooks; i++) {
        look(here);
        if (strcmp(here, home) != 0) atomic_fetch_add(&strangers, 1);
        sched_yield();
        if (i % 8 == 0) usleep(100);
    }
    return unused;
}

int main(int argc, char** argv) {
    kind = argc == 2 ? argv[1] : "";
    if (strcmp(kind, "call") && strcmp(kind, "unseen") && strcmp(kind, "bound"))
        return fprintf(stderr, "usage: namespaces call|unseen|bound\n"), 2;
    look(home);
    pthread_t threads[kThreads + 1];
    for (int i = 0; i <= kThreads; i++)
        if (pthread_create(&threads[i], NULL, i == 0 ? enters : stays, NULL))
            return perror("pthread_create"), 1;
    for (int i = 1; i <= kThreads; i++) pthread_join(threads[i], NULL);
    atomic_store(&is_over, 1);
    pthread_join(threads[0], NULL);
    if (atomic_load(&refused)) return puts("not permitted: it takes root"), 77;
    printf("looks from the wrong namespace: %d of %d; its own thread was elsewhere: %s\n",
           atomic_load(&strangers), kThreads * kLooks, atomic_load(&lost) ? "yes" : "never");
    return 0;
}
