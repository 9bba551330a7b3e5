// The same objects, but the process forks while other threads run and wait, and once more from a
// thread that is not main: parent and child then have threads with equal ids only if somebody made
// them up.
#include "shared_objects.inc"

static int stop, spins;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

static void* runs(void* unused) {
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        bump(&spins);
        move_about(4);
    }
    return NULL;
}
static void* waits(void* unused) {
    (void)unused;
    CHECK_OK(pthread_mutex_lock(&m));
    while (!stop) CHECK_OK(pthread_cond_wait(&never, &m));
    CHECK_OK(pthread_mutex_unlock(&m));
    return NULL;
}
static void* forks(void* s) {
    parent_and_child(s);
    return NULL;
}

int main(void) {
    pthread_t a = spawn(runs, NULL), b = spawn(waits, NULL);
    wait_for(&spins, 5);
    parent_and_child(make_shared());
    join(spawn(forks, make_shared()));
    CHECK_OK(pthread_mutex_lock(&m));
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    CHECK_OK(pthread_cond_broadcast(&never));
    CHECK_OK(pthread_mutex_unlock(&m));
    join(a);
    join(b);
    return 0;
}
