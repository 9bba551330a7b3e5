// Every way to sleep lasts at least as long as asked, on both clocks, relative and absolute; wrong
// values are refused; 200 sleeping threads sleep at the same time.
// expect: fibers>=212 native_fallbacks=0 locked=0
#include "../../support/twin.h"
#include <sys/select.h>

static const struct {
    const char* name;
    void (*nap)();  // 50 ms
} sleeps[] = {
    {"usleep", [] { CHECK(usleep(50000) == 0); }},
    {"nanosleep",
     [] {
         timespec t = {0, 50000000};
         CHECK(nanosleep(&t, nullptr) == 0);
     }},
    {"clock_nanosleep realtime",
     [] {
         timespec t = {0, 50000000};
         CHECK(clock_nanosleep(CLOCK_REALTIME, 0, &t, nullptr) == 0);
     }},
    {"clock_nanosleep monotonic",
     [] {
         timespec t = {0, 50000000};
         CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, nullptr) == 0);
     }},
    {"clock_nanosleep realtime absolute",
     [] {
         timespec t = after_ms(CLOCK_REALTIME, 50);
         CHECK(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, nullptr) == 0);
     }},
    {"clock_nanosleep monotonic absolute",
     [] {
         timespec t = after_ms(CLOCK_MONOTONIC, 50);
         CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) == 0);
     }},
    {"clock_nanosleep boottime",
     [] {
         timespec t = {0, 50000000};
         CHECK(clock_nanosleep(CLOCK_BOOTTIME, 0, &t, nullptr) == 0);
     }},
    {"poll", [] { CHECK(poll(nullptr, 0, 50) == 0); }},
    {"select",
     [] {
         timeval t = {0, 50000};
         CHECK(select(0, nullptr, nullptr, nullptr, &t) == 0);
     }},
    {"pselect",
     [] {
         timespec t = {0, 50000000};
         CHECK(pselect(0, nullptr, nullptr, nullptr, &t, nullptr) == 0);
     }},
    {"sem_timedwait",
     [] {
         sem_t s;
         CHECK(sem_init(&s, 0, 0) == 0);
         timespec t = after_ms(CLOCK_REALTIME, 50);
         CHECK(sem_timedwait(&s, &t) == -1 && errno == ETIMEDOUT);
     }},
    {"sleep", [] { CHECK(sleep(1) == 0); }},
};

static int64_t now_us() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}
static void* one(void* arg) {
    int i = (int)(intptr_t)arg;
    int64_t t0 = now_us();
    sleeps[i].nap();
    int64_t took = now_us() - t0;
    // The realtime clock may be slewed a little against the monotonic one.
    return (void*)(intptr_t)(took >= 49900);
}
static void* short_nap(void*) {
    nap(100);
    return nullptr;
}

int main() {
    pthread_t t[COUNT(sleeps)], many[200];
    for (int i = 0; i < COUNT(sleeps); i++) t[i] = start(one, (void*)(intptr_t)i);
    for (int i = 0; i < COUNT(sleeps); i++)
        printf("%s: %s\n", sleeps[i].name, finish(t[i]) ? "long enough" : "too short");
    int64_t t0 = now_ms();
    for (auto& m : many) m = start(short_nap, nullptr);
    for (auto& m : many) finish(m);
    int64_t took = now_ms() - t0;
    CHECK(took >= 100 && took < 10000);  // one after the other would be 20 seconds
    timespec wrong = {0, 1000000000}, minus = {-1, 0}, past = {1, 0}, zero = {0, 0};
    CHECK(nanosleep(&wrong, nullptr) == -1 && errno == EINVAL);
    CHECK(nanosleep(&minus, nullptr) == -1 && errno == EINVAL);
    CHECK(nanosleep(&zero, nullptr) == 0);
    errno = 0;
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &wrong, nullptr) == EINVAL && errno == 0);
    CHECK(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &zero, nullptr) == EINVAL);
    CHECK(clock_nanosleep(4711, 0, &zero, nullptr) == EINVAL);
    CHECK(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, nullptr) == 0);
    puts("200 slept together");
    return 0;
}
