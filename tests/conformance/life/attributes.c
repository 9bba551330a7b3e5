// All thread attributes: defaults, setters and getters, refusals, and the default attributes of the
// process.
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "switching.h"

int main(void) {
    pthread_attr_t a;
    int v;
    size_t n;
    void* p;
    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_getdetachstate(&a, &v));
    CHECK_EQ(v, PTHREAD_CREATE_JOINABLE);
    CHECK_OK(pthread_attr_getscope(&a, &v));
    CHECK_EQ(v, PTHREAD_SCOPE_SYSTEM);
    CHECK_OK(pthread_attr_getinheritsched(&a, &v));
    CHECK_EQ(v, PTHREAD_INHERIT_SCHED);
    CHECK_OK(pthread_attr_getschedpolicy(&a, &v));
    CHECK_EQ(v, SCHED_OTHER);
    struct sched_param param = {.sched_priority = 99};
    CHECK_OK(pthread_attr_getschedparam(&a, &param));
    CHECK_EQ(param.sched_priority, 0);
    CHECK_OK(pthread_attr_getguardsize(&a, &n));
    CHECK_EQ(n, (size_t)getpagesize());
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_STACK, &limit), 0);
    CHECK_OK(pthread_attr_getstacksize(&a, &n));
    CHECK_EQ(n, limit.rlim_cur);

    CHECK_RC(pthread_attr_setdetachstate(&a, 7), EINVAL);
    CHECK_RC(pthread_attr_setscope(&a, 7), EINVAL);
    CHECK_RC(pthread_attr_setscope(&a, PTHREAD_SCOPE_PROCESS), ENOTSUP);
    CHECK_OK(pthread_attr_setscope(&a, PTHREAD_SCOPE_SYSTEM));
    CHECK_RC(pthread_attr_setinheritsched(&a, 7), EINVAL);
    CHECK_RC(pthread_attr_setschedpolicy(&a, 7), EINVAL);
    CHECK_RC(pthread_attr_setstacksize(&a, PTHREAD_STACK_MIN - 1), EINVAL);
    CHECK_RC(pthread_attr_setstack(&a, &a, PTHREAD_STACK_MIN - 1), EINVAL);
    CHECK_OK(pthread_attr_setstacksize(&a, 256 << 10));
    CHECK_OK(pthread_attr_getstacksize(&a, &n));
    CHECK_EQ(n, 256 << 10);
    CHECK_OK(pthread_attr_setguardsize(&a, 12345));
    CHECK_OK(pthread_attr_getguardsize(&a, &n));
    CHECK_EQ(n, 12345);
    CHECK_OK(pthread_attr_setguardsize(&a, 0));
    CHECK_OK(pthread_attr_setinheritsched(&a, PTHREAD_EXPLICIT_SCHED));
    CHECK_OK(pthread_attr_getinheritsched(&a, &v));
    CHECK_EQ(v, PTHREAD_EXPLICIT_SCHED);
    CHECK_OK(pthread_attr_setschedpolicy(&a, SCHED_RR));
    CHECK_OK(pthread_attr_getschedpolicy(&a, &v));
    CHECK_EQ(v, SCHED_RR);
    param.sched_priority = 5;
    CHECK_OK(pthread_attr_setschedparam(&a, &param));
    param.sched_priority = 1000;
    CHECK_RC(pthread_attr_setschedparam(&a, &param), EINVAL);
    CHECK_OK(pthread_attr_getschedparam(&a, &param));
    CHECK_EQ(param.sched_priority, 5);
    static char stack[64 << 10] __attribute__((aligned(64)));
    CHECK_OK(pthread_attr_setstack(&a, stack, sizeof stack));
    CHECK_OK(pthread_attr_getstack(&a, &p, &n));
    CHECK_EQ(p, stack);
    CHECK_EQ(n, sizeof stack);
    cpu_set_t cpus, got;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    CHECK_OK(pthread_attr_setaffinity_np(&a, sizeof cpus, &cpus));
    CHECK_OK(pthread_attr_getaffinity_np(&a, sizeof got, &got));
    CHECK(CPU_EQUAL(&cpus, &got));
    sigset_t mask, mask_got;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    CHECK_RC(pthread_attr_getsigmask_np(&a, &mask_got), PTHREAD_ATTR_NO_SIGMASK_NP);
    CHECK_OK(pthread_attr_setsigmask_np(&a, &mask));
    CHECK_OK(pthread_attr_getsigmask_np(&a, &mask_got));
    CHECK_EQ(sigismember(&mask_got, SIGUSR1), 1);
    CHECK_EQ(sigismember(&mask_got, SIGUSR2), 0);
    CHECK_OK(pthread_attr_destroy(&a));

    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_setstacksize(&a, 512 << 10));
    CHECK_OK(pthread_setattr_default_np(&a));
    pthread_attr_t b;
    CHECK_OK(pthread_getattr_default_np(&b));
    CHECK_OK(pthread_attr_getstacksize(&b, &n));
    CHECK_EQ(n, 512 << 10);
    CHECK_OK(pthread_attr_destroy(&b));
    CHECK_OK(pthread_attr_destroy(&a));
    CHECK_OK(pthread_getconcurrency());
    CHECK_OK(pthread_setconcurrency(3));
    CHECK_EQ(pthread_getconcurrency(), 3);
    CHECK_RC(pthread_setconcurrency(-1), EINVAL);
    printf("ok\n");
    return 0;
}
