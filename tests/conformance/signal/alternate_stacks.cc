// sigaltstack is per thread: SA_ONSTACK handlers run on the stack of their own thread, others on
// the normal one; a stack overflow is survived through it; nothing is inherited by new threads;
// the getters tell the truth.
// expect: fibers>=9 native_fallbacks=0
#include "../../support/twin.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <atomic>

static const int threads = 8;
static const size_t size = 64 << 10;
static __thread char* own;
static __thread volatile int on_own, elsewhere;
static __thread sigjmp_buf back;
static std::atomic<int> right, overflows;

static void where(int) {
    char here;
    if (&here >= own && &here < own + size)
        on_own = on_own + 1;
    else
        elsewhere = elsewhere + 1;
    stack_t now;
    CHECK(sigaltstack(nullptr, &now) == 0);
    bool inside = &here >= own && &here < own + size;
    CHECK(((now.ss_flags & SS_ONSTACK) != 0) == inside);
    if (inside) {
        stack_t other = {};
        other.ss_flags = SS_DISABLE;
        CHECK(sigaltstack(&other, nullptr) == -1 && errno == EPERM);
        sched_yield();  // other threads run while this frame is on the alternate stack
        nap(1);
        CHECK(pingpong(1, 1) == 1);
    }
}
static void overflow(int) {
    char here;
    CHECK(&here >= own && &here < own + size);
    siglongjmp(back, 1);
}
__attribute__((noinline)) static int deeper(volatile int* p) {
    volatile char room[4096];
    room[0] = (char)*p;
    if (room[0] == 77) return 0;  // never: what it is given is zero
    return deeper((volatile int*)room) + room[0];
}

static void* body(void* arg) {
    stack_t s;
    CHECK(sigaltstack(nullptr, &s) == 0 && (s.ss_flags & SS_DISABLE));
    own = (char*)mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(own != MAP_FAILED);
    s = {};
    s.ss_sp = own;
    s.ss_size = size;
    CHECK(sigaltstack(&s, nullptr) == 0);
    for (int i = 0; i < 5; i++) {
        raise(SIGUSR1);  // SA_ONSTACK
        nap(1);
        raise(SIGUSR2);
    }
    CHECK(on_own == 5 && elsewhere == 5);
    if (arg) {
        volatile int zero = 0;
        if (sigsetjmp(back, 1) == 0) deeper(&zero);
        overflows++;
    }
    CHECK(sigaltstack(nullptr, &s) == 0 && s.ss_sp == own && s.ss_size == size && s.ss_flags == 0);
    s.ss_size = 100;
    CHECK(sigaltstack(&s, nullptr) == -1 && errno == ENOMEM);
    s.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&s, nullptr) == 0);
    on_own = elsewhere = 0;
    raise(SIGUSR1);
    CHECK(elsewhere == 1);
    munmap(own, size);
    right++;
    return nullptr;
}

int main() {
    struct sigaction a = {};
    a.sa_handler = where;
    CHECK(sigaction(SIGUSR2, &a, nullptr) == 0);
    a.sa_flags = SA_ONSTACK;
    CHECK(sigaction(SIGUSR1, &a, nullptr) == 0);
    a.sa_handler = overflow;
    CHECK(sigaction(SIGSEGV, &a, nullptr) == 0);
    pthread_t t[threads];
    for (int i = 0; i < threads; i++) t[i] = start(body, (void*)(intptr_t)(i < 3));
    for (pthread_t one : t) finish(one);
    body(nullptr);
    printf("%d threads right, %d overflows survived\n", (int)right, (int)overflows);
    return right != threads + 1 || overflows != 3;
}
