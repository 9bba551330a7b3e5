// What many conformance programs need: start and join, deadlines, and moving about.
#ifndef PFIBER_TESTS_SWITCHING_H
#define PFIBER_TESTS_SWITCHING_H

#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static inline pthread_t spawn(void* (*body)(void*), void* argument) {
    pthread_t thread;
    CHECK_OK(pthread_create(&thread, NULL, body, argument));
    return thread;
}

static inline void* join(pthread_t thread) {
    void* result = NULL;
    CHECK_OK(pthread_join(thread, &result));
    return result;
}

static inline struct timespec clock_now(clockid_t clock) {
    struct timespec t;
    CHECK_EQ(clock_gettime(clock, &t), 0);
    return t;
}

// An absolute time, milliseconds from now; may be negative.
static inline struct timespec clock_after(clockid_t clock, long milliseconds) {
    struct timespec t = clock_now(clock);
    long long ns = t.tv_nsec + milliseconds * 1000000LL;
    t.tv_sec += ns / 1000000000LL;
    ns %= 1000000000LL;
    if (ns < 0) {
        ns += 1000000000LL;
        t.tv_sec--;
    }
    t.tv_nsec = ns;
    return t;
}

static inline int time_reached(clockid_t clock, struct timespec t) {
    struct timespec now = clock_now(clock);
    return now.tv_sec > t.tv_sec || (now.tv_sec == t.tv_sec && now.tv_nsec >= t.tv_nsec);
}

// Long enough that a thread about to block most likely has; never what correctness rests on.
static inline void likely_blocked(void) { usleep(20000); }

// Waits for a flag set by another thread, without any lock.
static inline void wait_for(int* flag, int at_least) {
    while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) < at_least) usleep(200);
}
static inline int bump(int* counter) { return __atomic_add_fetch(counter, 1, __ATOMIC_ACQ_REL); }

// A partner thread echoes single bytes; callers take turns under a mutex, so each round is a mutex
// hand-over and two pipe waits.
static struct {
    pthread_once_t once;
    pthread_mutex_t turn;
    int to[2], from[2];
    unsigned long rounds;
} echo_partner = {PTHREAD_ONCE_INIT, PTHREAD_MUTEX_INITIALIZER, {-1, -1}, {-1, -1}, 0};

static inline void* echo_partner_body(void* unused) {
    (void)unused;
    char byte;
    while (read(echo_partner.to[0], &byte, 1) == 1)
        CHECK_EQ(write(echo_partner.from[1], &byte, 1), 1);
    return NULL;
}

static inline void echo_partner_start(void) {
    CHECK_EQ(pipe(echo_partner.to), 0);
    CHECK_EQ(pipe(echo_partner.from), 0);
    CHECK_OK(pthread_detach(spawn(echo_partner_body, NULL)));
}

static inline void pipe_round_trip(void) {
    CHECK_OK(pthread_once(&echo_partner.once, echo_partner_start));
    CHECK_OK(pthread_mutex_lock(&echo_partner.turn));
    char sent = (char)echo_partner.rounds++, got = (char)~sent;
    CHECK_EQ(write(echo_partner.to[1], &sent, 1), 1);
    CHECK_EQ(read(echo_partner.from[0], &got, 1), 1);
    CHECK_EQ(got, sent);
    CHECK_OK(pthread_mutex_unlock(&echo_partner.turn));
}

// Gives up the processor in every usual way, so that under an M:N scheduler the caller continues on
// another kernel thread sooner or later.
static inline void move_about(int times) {
    for (int i = 0; i < times; i++) {
        switch (i % 4) {
            case 0:
            case 2:
                sched_yield();
                break;
            case 1:
                usleep(1);
                break;
            default:
                pipe_round_trip();
        }
    }
}

#endif
