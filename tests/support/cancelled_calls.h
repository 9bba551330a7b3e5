// One call after the other is cancelled while it waits, and again by a request that came before it.
// Include twin.h first.
#pragma once

struct CancelledCall {
    const char* name;
    void (*wait)();
    void (*afterwards)() = nullptr;  // undoes what the call left when its thread ended
};

static sem_t never;        // that nobody posts before the end
static pthread_t forever;  // a thread that waits for it

namespace cancelled_calls {

static sem_t entered, requested;
static __thread int own;
static int cleaned;
static const CancelledCall* current;
static bool before;

static void on_cancel(void* arg) {
    own++;
    cleaned += (intptr_t)arg;
}

static void* body(void*) {
    pthread_cleanup_push(on_cancel, (void*)1);
    sem_post(&entered);
    if (before) {
        // With cancellation disabled the request waits for the call.
        int old;
        CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old) == 0);
        wait_sem(&requested);
        CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr) == 0);
    }
    current->wait();
    pthread_cleanup_pop(0);
    return nullptr;
}

static void* forever_body(void*) {
    wait_sem(&never);
    return nullptr;
}

}  // namespace cancelled_calls

// Before any call; also blocks SIGUSR1, which some wait for.
static void begin_cancelling() {
    using namespace cancelled_calls;
    CHECK(sem_init(&never, 0, 0) == 0 && sem_init(&entered, 0, 0) == 0);
    CHECK(sem_init(&requested, 0, 0) == 0);
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &s, nullptr);
}

template <int kCount>
static void cancel_each(const CancelledCall (&calls)[kCount]) {
    using namespace cancelled_calls;
    forever = start(forever_body, nullptr);
    int right = 0;
    for (const CancelledCall& one : calls) {
        current = &one;
        for (int pass = 0; pass < 2; pass++) {
            before = pass == 1;
            pthread_t t = start(body, nullptr);
            wait_sem(&entered);
            if (!before) nap(8);
            CHECK(pthread_cancel(t) == 0);
            if (before) sem_post(&requested);
            const bool is_cancelled = finish(t) == PTHREAD_CANCELED;
            if (!is_cancelled) dprintf(2, "%s was not cancelled\n", one.name);
            right += is_cancelled;
            if (one.afterwards != nullptr) one.afterwards();
        }
        printf("%s\n", one.name);
    }
    sem_post(&never);
    finish(forever);
    CHECK(own == 0);
    printf("%d cancelled, %d cleaned up\n", right, cleaned);
    CHECK(right == 2 * kCount && cleaned == right);
}
