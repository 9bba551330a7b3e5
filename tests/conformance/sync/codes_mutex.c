// The result of every call on every kind of mutex (type, protocol, robustness, sharing), free, held
// by the caller and held by another thread; the output is compared with the native one.
#include "switching.h"

static pthread_mutex_t m;
static const struct timespec kNegative = {1, -1}, kTooMuch = {1, 1000000000}, kPast = {1, 0},
                             kBeforeEpoch = {-1, 0}, kBoth = {-1, 1000000000};

static void say(const char* what, int rc) {
    const char* name = rc == 0 ? "0" : strerrorname_np(rc);
    printf(" %s=%s", what, name ? name : "?");
    if (rc == 0 || rc == EOWNERDEAD) {
        if (strstr(what, "lock") != NULL && strstr(what, "un") == NULL)
            CHECK_OK(pthread_mutex_unlock(&m));
    }
}

static void tries(const char* state) {
    printf("\n  %s:", state);
    say("trylock", pthread_mutex_trylock(&m));
    say("timedlock(past)", pthread_mutex_timedlock(&m, &kPast));
    say("timedlock(-1 s)", pthread_mutex_timedlock(&m, &kBeforeEpoch));
    say("timedlock(-1 ns)", pthread_mutex_timedlock(&m, &kNegative));
    say("timedlock(1e9 ns)", pthread_mutex_timedlock(&m, &kTooMuch));
    say("timedlock(-1 s, 1e9 ns)", pthread_mutex_timedlock(&m, &kBoth));
    say("clocklock(past)", pthread_mutex_clocklock(&m, CLOCK_MONOTONIC, &kPast));
    say("clocklock(-1 ns)", pthread_mutex_clocklock(&m, CLOCK_MONOTONIC, &kNegative));
    say("clocklock(bad clock)", pthread_mutex_clocklock(&m, CLOCK_THREAD_CPUTIME_ID, &kPast));
    struct timespec soon = clock_after(CLOCK_MONOTONIC, 2);
    say("clocklock(soon)", pthread_mutex_clocklock(&m, CLOCK_MONOTONIC, &soon));
    int ceiling = -1;
    int rc = pthread_mutex_getprioceiling(&m, &ceiling);
    printf(" ceiling=%d/%d", rc, ceiling);
    rc = pthread_mutex_setprioceiling(&m, 200, &ceiling);
    printf(" setceiling(200)=%d", rc);
    say("consistent", pthread_mutex_consistent(&m));
}

static void* other_tries(void* unused) {
    (void)unused;
    tries("held by another");
    return NULL;
}

static void* other_unlocks(void* unused) {
    (void)unused;
    int rc = pthread_mutex_unlock(&m);
    printf("\n  unlocked by another=%d", rc);
    return NULL;
}

static void* other_dies_with_it(void* unused) {
    (void)unused;
    CHECK_OK(pthread_mutex_lock(&m));
    return NULL;
}

static void recursion(void) {
    int depth = 0;
    while (depth < 1000 && pthread_mutex_trylock(&m) == 0) depth++;
    for (int i = 0; i < depth; i++) CHECK_OK(pthread_mutex_unlock(&m));
    printf(" recursion=%d", depth);
}

static void print(const char* what, int rc) { printf(" %s=%d", what, rc); }

static void robust(int type) {
    printf("\n  robust:");
    join(spawn(other_dies_with_it, NULL));
    print("lock", pthread_mutex_lock(&m));
    print("consistent", pthread_mutex_consistent(&m));
    print("again", pthread_mutex_consistent(&m));
    print("unlock", pthread_mutex_unlock(&m));
    join(spawn(other_dies_with_it, NULL));
    print("trylock", pthread_mutex_trylock(&m));
    print("unlock", pthread_mutex_unlock(&m));
    print("lock", pthread_mutex_lock(&m));
    print("timedlock", pthread_mutex_timedlock(&m, &kPast));
    print("consistent", pthread_mutex_consistent(&m));
    print("unlock", type == PTHREAD_MUTEX_NORMAL ? -1 : pthread_mutex_unlock(&m));
    print("trylock", pthread_mutex_trylock(&m));
}

static void* on_thread(void* unused) {
    (void)unused;
    for (int kind = 0; kind < 4 * 3 * 2 * 2; kind++) {
        int type = kind % 4, protocol = kind / 4 % 3, is_robust = kind / 12 % 2, shared = kind / 24;
        pthread_mutexattr_t a;
        CHECK_OK(pthread_mutexattr_init(&a));
        CHECK_OK(pthread_mutexattr_settype(&a, type));
        CHECK_OK(pthread_mutexattr_setprotocol(&a, protocol));
        CHECK_OK(pthread_mutexattr_setrobust(&a, is_robust));
        CHECK_OK(pthread_mutexattr_setpshared(&a, shared));
        memset(&m, 0xff, sizeof m);
        int rc = pthread_mutex_init(&m, &a);
        printf("type %d protocol %d robust %d shared %d: init=%d", type, protocol, is_robust,
               shared, rc);
        if (rc != 0) {
            printf("\n");
            continue;
        }
        say("unlock(free)", type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK
                                ? pthread_mutex_unlock(&m)
                                : -1);
        tries("free");
        rc = pthread_mutex_lock(&m);
        printf("\n  lock=%d", rc);
        if (rc == 0) {
            tries("held");
            if (type == PTHREAD_MUTEX_ERRORCHECK) say("relock", pthread_mutex_lock(&m));
            if (!is_robust) say("destroy", pthread_mutex_destroy(&m));
            join(spawn(other_tries, NULL));
            if (type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK)
                join(spawn(other_unlocks, NULL));
            printf(" unlock=%d", pthread_mutex_unlock(&m));
            if (type == PTHREAD_MUTEX_RECURSIVE) recursion();
            if (is_robust && protocol != PTHREAD_PRIO_PROTECT) robust(type);
        }
        rc = pthread_mutex_destroy(&m);
        printf("\n  destroy=%d", rc);
        if (rc == 0) {
            print("lock", pthread_mutex_lock(&m));
            print("trylock", pthread_mutex_trylock(&m));
            print("unlock", pthread_mutex_unlock(&m));
            print("timedlock", pthread_mutex_timedlock(&m, &kPast));
            print("destroy", pthread_mutex_destroy(&m));
        }
        printf("\n");
        CHECK_OK(pthread_mutexattr_destroy(&a));
    }
    return NULL;
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    join(spawn(on_thread, NULL));
    return 0;
}
