// What the conformance programs share: naps, clocks, threads, loopback sockets, whole-buffer I/O.
// Plain C, so that C and C++ programs can use it.  Include it first: it asks for the GNU names.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __cplusplus
#include <initializer_list>
#endif
#include "check.h"

#define TWIN static inline __attribute__((unused))
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

// A nap only makes it likely that another thread has blocked; no result may depend on it.
TWIN void nap(int ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&left, &left) == -1 && errno == EINTR) {
    }
}

TWIN int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

TWIN struct timespec after_ms(clockid_t clock, int ms) {
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

TWIN pthread_t start(void* (*body)(void*), void* arg) {
    pthread_t t;
    CHECK((errno = pthread_create(&t, NULL, body, arg)) == 0);
    return t;
}

TWIN void* finish(pthread_t t) {
    void* result = NULL;
    CHECK((errno = pthread_join(t, &result)) == 0);
    return result;
}

TWIN void wait_sem(sem_t* s) {
    while (sem_wait(s) == -1) CHECK(errno == EINTR);
}

// The whole buffer or a failed check; the caller knows that the other side will take or send it.
TWIN void put(int fd, const void* data, size_t size) {
    const char* p = (const char*)data;
    while (size) {
        ssize_t n = write(fd, p, size);
        if (n == -1 && errno == EINTR) continue;
        CHECK(n > 0);
        p += n;
        size -= (size_t)n;
    }
}

// Returns the bytes read: less than size only at end of file.
TWIN size_t take(int fd, void* data, size_t size) {
    char* p = (char*)data;
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(fd, p + got, size - got);
        if (n == -1 && errno == EINTR) continue;
        CHECK(n >= 0);
        if (n == 0) break;
        got += (size_t)n;
    }
    return got;
}

TWIN struct sockaddr_in loopback(int port) {
    struct sockaddr_in a;
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

TWIN int port_of(int fd) {
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    CHECK(getsockname(fd, (struct sockaddr*)&a, &size) == 0);
    return ntohs(a.sin_port);
}

// A TCP listener on a free port of the loopback interface.
TWIN int tcp_listen(int backlog) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    struct sockaddr_in a = loopback(0);
    CHECK(bind(fd, (struct sockaddr*)&a, sizeof a) == 0);
    CHECK(listen(fd, backlog) == 0);
    return fd;
}

TWIN int tcp_connect(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    struct sockaddr_in a = loopback(port);
    CHECK(connect(fd, (struct sockaddr*)&a, sizeof a) == 0);
    return fd;
}

TWIN void tcp_pair(int fds[2]) {
    int listener = tcp_listen(1);
    fds[0] = tcp_connect(port_of(listener));
    fds[1] = accept(listener, NULL, NULL);
    CHECK(fds[1] >= 0);
    CHECK(close(listener) == 0);
}

TWIN void unix_pair(int fds[2]) { CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0); }

// An address in the abstract namespace, unique per process and name.
TWIN socklen_t unix_name(struct sockaddr_un* a, const char* name) {
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    int n = snprintf(a->sun_path + 1, sizeof a->sun_path - 1, "pfiber-twin-%d-%s", getpid(), name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

TWIN int reap(pid_t pid) {
    int status = -1;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) == -1 && errno == EINTR) {
    }
    CHECK(got == pid);
    return status;
}

// A child whose body returned this code through _exit.
TWIN int exited_with(int status, int code) {
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

// One end of a ping-pong: answers every byte with its successor until end of file.
TWIN void* twin_ponger(void* arg) {
    int fd = (int)(intptr_t)arg;
    unsigned char c;
    while (take(fd, &c, 1) == 1) {
        c++;
        put(fd, &c, 1);
    }
    CHECK(close(fd) == 0);
    return NULL;
}

// Threads and blocking I/O on new descriptors work: returns the number of verified replies.
TWIN int pingpong(int pairs, int rounds) {
    int fds[64][2], good = 0;
    pthread_t t[64];
    CHECK(pairs <= 64);
    for (int i = 0; i < pairs; i++) {
        unix_pair(fds[i]);
        t[i] = start(twin_ponger, (void*)(intptr_t)fds[i][1]);
    }
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < pairs; i++) {
            unsigned char c = (unsigned char)(r + i), back = 0;
            put(fds[i][0], &c, 1);
            good += take(fds[i][0], &back, 1) == 1 && back == (unsigned char)(c + 1);
        }
    }
    for (int i = 0; i < pairs; i++) CHECK(close(fds[i][0]) == 0);
    for (int i = 0; i < pairs; i++) finish(t[i]);
    return good;
}
