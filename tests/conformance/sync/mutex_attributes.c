// Mutex attributes: what is set is what is read, and what glibc refuses. Priority protection and
// ceilings are only asked for, never needed.
#include "switching.h"

int main(void) {
    pthread_mutexattr_t a;
    int v = -1;
    CHECK_OK(pthread_mutexattr_init(&a));
    CHECK_OK(pthread_mutexattr_gettype(&a, &v));
    CHECK_EQ(v, PTHREAD_MUTEX_DEFAULT);
    CHECK_OK(pthread_mutexattr_getpshared(&a, &v));
    CHECK_EQ(v, PTHREAD_PROCESS_PRIVATE);
    CHECK_OK(pthread_mutexattr_getprotocol(&a, &v));
    CHECK_EQ(v, PTHREAD_PRIO_NONE);
    CHECK_OK(pthread_mutexattr_getrobust(&a, &v));
    CHECK_EQ(v, PTHREAD_MUTEX_STALLED);
    CHECK_RC(pthread_mutexattr_settype(&a, 77), EINVAL);
    CHECK_RC(pthread_mutexattr_setpshared(&a, 77), EINVAL);
    CHECK_RC(pthread_mutexattr_setprotocol(&a, 77), EINVAL);
    CHECK_RC(pthread_mutexattr_setrobust(&a, 77), EINVAL);
    CHECK_RC(pthread_mutexattr_setprioceiling(&a, 1000), EINVAL);
    for (int type = PTHREAD_MUTEX_NORMAL; type <= PTHREAD_MUTEX_ADAPTIVE_NP; type++)
        for (int shared = 0; shared <= 1; shared++)
            for (int protocol = PTHREAD_PRIO_NONE; protocol <= PTHREAD_PRIO_PROTECT; protocol++)
                for (int robust = 0; robust <= 1; robust++) {
                    CHECK_OK(pthread_mutexattr_settype(&a, type));
                    CHECK_OK(pthread_mutexattr_setpshared(&a, shared));
                    CHECK_OK(pthread_mutexattr_setprotocol(&a, protocol));
                    CHECK_OK(pthread_mutexattr_setrobust(&a, robust));
                    CHECK_OK(pthread_mutexattr_setprioceiling(&a, 17));
                    CHECK_OK(pthread_mutexattr_gettype(&a, &v));
                    CHECK_EQ(v, type);
                    CHECK_OK(pthread_mutexattr_getpshared(&a, &v));
                    CHECK_EQ(v, shared);
                    CHECK_OK(pthread_mutexattr_getprotocol(&a, &v));
                    CHECK_EQ(v, protocol);
                    CHECK_OK(pthread_mutexattr_getrobust(&a, &v));
                    CHECK_EQ(v, robust);
                    CHECK_OK(pthread_mutexattr_getprioceiling(&a, &v));
                    CHECK_EQ(v, 17);
                    pthread_mutex_t m;
                    int rc = pthread_mutex_init(&m, &a);
                    // Printed: which combinations the C library accepts is part of the contract.
                    printf("%d%d%d%d %s\n", type, shared, protocol, robust,
                           rc ? strerrorname_np(rc) : "ok");
                    if (rc == 0) CHECK_OK(pthread_mutex_destroy(&m));
                }
    CHECK_OK(pthread_mutexattr_destroy(&a));

    pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
    CHECK_RC(pthread_mutex_getprioceiling(&plain, &v), EINVAL);
    CHECK_RC(pthread_mutex_setprioceiling(&plain, 5, &v), EINVAL);
    CHECK_RC(pthread_mutex_consistent(&plain), EINVAL);

    // A ceiling mutex: locking needs the right to SCHED_FIFO; without it EPERM, both are the answer
    // of the system and must be the same with and without threads around.
    pthread_mutex_t ceiling;
    CHECK_OK(pthread_mutexattr_init(&a));
    CHECK_OK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_PROTECT));
    CHECK_OK(pthread_mutexattr_setprioceiling(&a, 3));
    CHECK_OK(pthread_mutex_init(&ceiling, &a));
    CHECK_OK(pthread_mutex_getprioceiling(&ceiling, &v));
    CHECK_EQ(v, 3);
    CHECK_OK(pthread_mutex_destroy(&ceiling));
    return 0;
}
