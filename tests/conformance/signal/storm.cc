// Ten thousand signals among busy, blocked and locking threads: each queued real-time signal runs
// its handler exactly once, in the thread it was sent to, and no data or lock is disturbed.
// limit: 30
// expect: fibers>=9 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>

static const int threads = 8, each = 1250;
static __thread int number = -1;
static std::atomic<int> count[threads], wrong;
static std::atomic<bool> stop;
static int fds[threads][2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long guarded;
static std::atomic<long> increments;
static sem_t ready;

static void handler(int, siginfo_t* info, void*) {
    if (number != info->si_value.sival_int || number < 0)
        wrong++;
    else
        count[number]++;
}

static void* body(void* arg) {
    number = (int)(intptr_t)arg;
    sem_post(&ready);
    unsigned char c = 0, back;
    volatile unsigned long spin = 0;
    while (!stop) {
        switch (number % 4) {
            case 0:
                spin = spin + 1;
                break;
            case 1:
                put(fds[number][0], &c, 1);
                CHECK(take(fds[number][0], &back, 1) == 1 && back == (unsigned char)(c + 1));
                c++;
                break;
            case 2:
                pthread_mutex_lock(&mutex);
                guarded++;
                pthread_mutex_unlock(&mutex);
                increments++;
                break;
            case 3: {
                void* p = malloc(100 + c++);
                CHECK(p);
                free(p);
                usleep(50);
                break;
            }
        }
    }
    return nullptr;
}

int main() {
    CHECK(sem_init(&ready, 0, 0) == 0);
    struct sigaction a = {};
    a.sa_sigaction = handler;
    a.sa_flags = SA_SIGINFO | SA_RESTART;
    CHECK(sigaction(SIGRTMIN + 5, &a, nullptr) == 0);
    pthread_t t[threads], p[threads];
    for (int i = 0; i < threads; i++) {
        unix_pair(fds[i]);
        t[i] = start(body, (void*)(intptr_t)i);
    }
    for (int i = 0; i < threads; i++) wait_sem(&ready);
    sigset_t s;
    sigfillset(&s);
    pthread_sigmask(SIG_BLOCK, &s, nullptr);  // the pongers take no part
    for (int i = 0; i < threads; i++) p[i] = start(twin_ponger, (void*)(intptr_t)fds[i][1]);
    for (int k = 0; k < each; k++) {
        for (int i = 0; i < threads; i++) {
            sigval v;
            v.sival_int = i;
            int code;
            while ((code = pthread_sigqueue(t[i], SIGRTMIN + 5, v)) == EAGAIN) nap(1);
            CHECK(code == 0);
        }
    }
    int total = 0;
    while (total < threads * each && !wrong) {
        nap(1);
        total = 0;
        for (auto& c : count) total += c;
    }
    stop = true;
    for (pthread_t one : t) finish(one);
    for (auto& pair : fds) close(pair[0]);
    for (pthread_t one : p) finish(one);
    int right = 0;
    for (auto& c : count) right += c == each;
    CHECK(guarded == increments);
    printf("%d signals, %d threads got %d each, %d wrong\n", total, right, each, (int)wrong);
    return right != threads || wrong != 0;
}
