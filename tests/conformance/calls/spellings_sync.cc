// Every other spelling of the synchronisation calls, looked up by name: each waits once for another
// thread, and fails once as its manual page says.
// expect: fibers>=8 native_fallbacks=0 missed_blocking=0 handoffs=0 parks_sync>=4
#include "../../support/twin.h"
#include "../../support/spelled.h"

using MutexCall = int(pthread_mutex_t*);
using LockCall = int(pthread_rwlock_t*);
static pthread_mutex_t mutex;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t held, tried;

static void* holds_mutex(void*) {
    CHECK_OK(pthread_mutex_lock(&mutex));
    sem_post(&held);
    wait_sem(&tried);
    nap(20);
    CHECK_OK(pthread_mutex_unlock(&mutex));
    return nullptr;
}
static void mutexes() {
    pthread_mutexattr_t attributes;
    CHECK_OK(pthread_mutexattr_init(&attributes));
    CHECK_OK(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK));
    auto* init = spelled<int(pthread_mutex_t*, const pthread_mutexattr_t*)>("__pthread_mutex_init");
    auto* lock_call = spelled<MutexCall>("__pthread_mutex_lock");
    auto* try_call = spelled<MutexCall>("__pthread_mutex_trylock");
    auto* unlock_call = spelled<MutexCall>("__pthread_mutex_unlock");
    CHECK_OK(init(&mutex, &attributes));
    const pthread_t other = start(holds_mutex, nullptr);
    wait_sem(&held);
    CHECK_RC(try_call(&mutex), EBUSY);
    CHECK_RC(unlock_call(&mutex), EPERM);
    sem_post(&tried);
    CHECK_OK(lock_call(&mutex));
    CHECK_RC(lock_call(&mutex), EDEADLK);
    CHECK_OK(unlock_call(&mutex));
    CHECK_OK(try_call(&mutex));
    CHECK_OK(unlock_call(&mutex));
    finish(other);
    CHECK_OK(pthread_mutex_destroy(&mutex));
}

static void* holds_for_writing(void*) {
    CHECK_OK(pthread_rwlock_wrlock(&lock));
    sem_post(&held);
    wait_sem(&tried);
    nap(20);
    CHECK_OK(pthread_rwlock_unlock(&lock));
    return nullptr;
}
static void rwlocks() {
    auto* unlock_call = spelled<LockCall>("__pthread_rwlock_unlock");
    struct {
        const char *wait, *attempt;
    } names[] = {{"__pthread_rwlock_rdlock", "__pthread_rwlock_tryrdlock"},
                 {"__pthread_rwlock_wrlock", "__pthread_rwlock_trywrlock"}};
    for (const auto& name : names) {
        auto* wait_call = spelled<LockCall>(name.wait);
        auto* try_call = spelled<LockCall>(name.attempt);
        const pthread_t other = start(holds_for_writing, nullptr);
        wait_sem(&held);
        CHECK_RC(try_call(&lock), EBUSY);
        sem_post(&tried);
        CHECK_OK(wait_call(&lock));
        CHECK_OK(unlock_call(&lock));
        CHECK_OK(try_call(&lock));
        CHECK_OK(unlock_call(&lock));
        finish(other);
    }
    auto* write_call = spelled<LockCall>("__pthread_rwlock_wrlock");
    CHECK_OK(write_call(&lock));
    CHECK_RC(write_call(&lock), EDEADLK);
    CHECK_OK(unlock_call(&lock));
}

static int runs;
static void once_body() {
    nap(20);
    runs++;
}
using OnceCall = int(pthread_once_t*, void (*)());
static OnceCall* once_call;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void* calls_once(void*) {
    CHECK_OK(once_call(&once, once_body));
    CHECK_EQ(runs, 1);
    return nullptr;
}
static void onces() {
    once_call = spelled<OnceCall>("__pthread_once");
    pthread_t threads[4];
    for (auto& thread : threads) thread = start(calls_once, nullptr);
    for (auto thread : threads) finish(thread);
}

static void* all(void*) {
    mutexes();
    rwlocks();
    onces();
    return nullptr;
}

int main() {
    CHECK_OK(sem_init(&held, 0, 0));
    CHECK_OK(sem_init(&tried, 0, 0));
    finish(start(all, nullptr));
    return 0;
}
