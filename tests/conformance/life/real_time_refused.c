// Without the right to real-time policies (CAP_SYS_NICE, RLIMIT_RTPRIO) each way to one says EPERM
// and changes nothing: in attributes, for the caller, for another thread that waits or computes,
// also for root.
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "switching.h"

static const struct sched_param kReal = {.sched_priority = 1}, kNone = {.sched_priority = 0};
static int stop;
static pthread_barrier_t gate;

static int policy_of(pthread_t thread) {
    int policy;
    struct sched_param p;
    CHECK_OK(pthread_getschedparam(thread, &policy, &p));
    CHECK_EQ(p.sched_priority, 0);
    return policy;
}

static void* computes(void* unused) {
    pthread_barrier_wait(&gate);
    while (__atomic_load_n(&stop, __ATOMIC_ACQUIRE) == 0) {
    }
    CHECK_EQ(policy_of(pthread_self()), SCHED_OTHER);
    return unused;
}

static void* waits(void* unused) {
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    CHECK_EQ(policy_of(pthread_self()), SCHED_OTHER);
    return unused;
}

static void drop(int as_user) {
    struct rlimit none = {0, 0};
    CHECK_EQ(setrlimit(RLIMIT_RTPRIO, &none), 0);
    if (geteuid() != 0) return;
    if (as_user) {
        CHECK_EQ(setresuid(65534, 65534, 65534), 0);
    } else {
        struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct data[2];
        CHECK_EQ(syscall(SYS_capget, &head, data), 0);
        data[0].effective &= ~(1U << CAP_SYS_NICE);
        CHECK_EQ(syscall(SYS_capset, &head, data), 0);
    }
}

static int refused(int as_user) {
    pthread_attr_t a;
    pthread_t one, two, none;
    drop(as_user);
    CHECK_OK(pthread_barrier_init(&gate, NULL, 2));
    CHECK_OK(pthread_attr_init(&a));
    CHECK_OK(pthread_attr_setinheritsched(&a, PTHREAD_EXPLICIT_SCHED));
    CHECK_OK(pthread_attr_setschedpolicy(&a, SCHED_RR));
    CHECK_OK(pthread_attr_setschedparam(&a, &kReal));
    one = spawn(computes, NULL);
    pthread_barrier_wait(&gate);
    two = spawn(waits, NULL);
    pthread_barrier_wait(&gate);
    CHECK_RC(pthread_create(&none, &a, waits, NULL), EPERM);
    CHECK_RC(pthread_setschedparam(pthread_self(), SCHED_FIFO, &kReal), EPERM);
    CHECK_RC(pthread_setschedparam(one, SCHED_FIFO, &kReal), EPERM);
    CHECK_RC(pthread_setschedparam(two, SCHED_RR, &kReal), EPERM);
    CHECK_RC(pthread_setschedprio(two, 1), EINVAL);
    CHECK_ERRNO(sched_setscheduler(0, SCHED_FIFO, &kReal), EPERM);
    CHECK_OK(pthread_setschedparam(two, SCHED_OTHER, &kNone));
    CHECK_EQ(policy_of(one) + policy_of(two) + policy_of(pthread_self()), 3 * SCHED_OTHER);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_barrier_wait(&gate);
    join(one);
    join(two);
    return 0;
}

int main(void) {
    for (int as_user = 0; as_user < 2; as_user++) {
        int status;
        const pid_t child = fork();
        if (child == 0) _exit(refused(as_user));
        CHECK_EQ(waitpid(child, &status, 0), child);
        printf("%s: status %d\n", as_user ? "another user" : "root without the capability", status);
    }
    join(spawn(computes, (stop = 1, pthread_barrier_init(&gate, NULL, 1), NULL)));
    return 0;
}
