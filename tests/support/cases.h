// Cases of "one thread is inside a call, another does something": the outcome is printed and so
// compared with the native one.  Include twin.h first.
#pragma once
#include <string.h>

// One call in a thread of its own.
struct call {
    long (*body)(int fd);
    int fd;
    long answer;
    int error;
    sem_t begun;
    int ended;
    pthread_t thread;
};

static void* run_call(void* arg) {
    struct call* c = (struct call*)arg;
    sem_post(&c->begun);
    errno = 0;
    c->answer = c->body(c->fd);
    c->error = c->answer < 0 ? errno : 0;
    __atomic_store_n(&c->ended, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

// Starts the call and gives it time to block.
TWIN void begin_call(struct call* c, long (*body)(int), int fd) {
    memset(c, 0, sizeof *c);
    c->body = body;
    c->fd = fd;
    CHECK(sem_init(&c->begun, 0, 0) == 0);
    c->thread = start(run_call, c);
    wait_sem(&c->begun);
    nap(40);
}

TWIN int has_ended(struct call* c) { return __atomic_load_n(&c->ended, __ATOMIC_SEQ_CST); }

// What came of the call, given some time to end.
TWIN const char* state_of(struct call* c) {
    for (int i = 0; i < 40 && !has_ended(c); i++) nap(5);
    return has_ended(c) ? "ended" : "waits";
}

// Waits for the call's end and prints how it ended.
TWIN void end_call(struct call* c, const char* name) {
    finish(c->thread);
    const char* error = c->error != 0 ? strerrorname_np(c->error) : "ok";
    printf("%s: %ld %s\n", name, c->answer, error);
}
