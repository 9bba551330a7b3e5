// pthread_getattr_np tells each thread's attributes as they are: sizes, guards, the caller's own
// stack, policy, affinity; defaults changed by pthread_setattr_default_np hold; calls about ended
// threads and with wrong values answer as documented.
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../../support/twin.h"

static sem_t done;

static void tell(const char* who) {
    pthread_attr_t a;
    void* low;
    size_t size, same, guard;
    int detached, inherits, scope, policy;
    struct sched_param p;
    cpu_set_t set, whole;
    char local;
    CHECK(pthread_getattr_np(pthread_self(), &a) == 0);
    pthread_attr_getstack(&a, &low, &size);
    pthread_attr_getstacksize(&a, &same);
    pthread_attr_getguardsize(&a, &guard);
    pthread_attr_getdetachstate(&a, &detached);
    pthread_attr_getinheritsched(&a, &inherits);
    pthread_attr_getscope(&a, &scope);
    pthread_attr_getschedpolicy(&a, &policy);
    pthread_attr_getschedparam(&a, &p);
    CHECK(pthread_attr_getaffinity_np(&a, sizeof set, &set) == 0);
    CHECK(sched_getaffinity(0, sizeof whole, &whole) == 0);
    const int is_inside = &local > (char*)low && &local < (char*)low + size;
    const int is_main = gettid() == getpid();  // whose stack has no fixed size
    printf(
        "%s: %zu %d guard %zu detached %d explicit %d scope %d policy %d %d affinity %d inside %d "
        "page %d\n",
        who, is_main ? 0 : size, size == same, guard, detached, inherits, scope, policy,
        p.sched_priority, CPU_EQUAL(&set, &whole), is_inside, (int)((uintptr_t)low % 4096));
    pthread_attr_destroy(&a);
}

static void* told(void* who) {
    tell(who);
    sem_post(&done);
    return NULL;
}

static void make(const char* who, pthread_attr_t* a) {
    pthread_t t;
    int state = PTHREAD_CREATE_JOINABLE;
    if (a != NULL) pthread_attr_getdetachstate(a, &state);
    const int rc = pthread_create(&t, a, told, (void*)(uintptr_t)who);
    if (rc != 0) {
        printf("%s: %s\n", who, strerrorname_np(rc));
        return;
    }
    wait_sem(&done);
    if (state == PTHREAD_CREATE_JOINABLE) finish(t);
}

static void sizes(void) {
    pthread_attr_t a;
    pthread_attr_init(&a);
    make("none", NULL);
    make("plain", &a);
    pthread_attr_setstacksize(&a, 65536);
    make("64 KiB", &a);
    pthread_attr_setstacksize(&a, 100000);
    make("odd size", &a);
    pthread_attr_setguardsize(&a, 0);
    make("no guard", &a);
    pthread_attr_setguardsize(&a, 5000);
    make("odd guard", &a);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    make("detached", &a);
    pthread_attr_destroy(&a);
    pthread_attr_init(&a);
    void* own = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_setstack(&a, own, 1 << 20);
    pthread_attr_setguardsize(&a, 8192);
    make("own stack", &a);
    pthread_attr_destroy(&a);
    munmap(own, 1 << 20);
}

static void policies(void) {
    pthread_attr_t a;
    pthread_attr_init(&a);
    struct sched_param p = {.sched_priority = 5};
    pthread_attr_setinheritsched(&a, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&a, SCHED_BATCH);
    make("batch", &a);
    printf("too high for batch: %d\n", pthread_attr_setschedparam(&a, &p));
    pthread_attr_setschedpolicy(&a, SCHED_FIFO);
    pthread_attr_setschedparam(&a, &p);
    make("fifo", &a);
    pthread_attr_destroy(&a);
    p.sched_priority = 3;
    printf("other with 3: %d", pthread_setschedparam(pthread_self(), SCHED_OTHER, &p));
    p.sched_priority = 200;
    printf(" fifo with 200: %d", pthread_setschedparam(pthread_self(), SCHED_FIFO, &p));
    printf(" unknown: %d", pthread_setschedparam(pthread_self(), 77, &p));
    printf(" priority 4: %d\n", pthread_setschedprio(pthread_self(), 4));
}

static void defaults(void) {
    pthread_attr_t a, b;
    size_t size;
    CHECK(pthread_getattr_default_np(&a) == 0);
    pthread_attr_getstacksize(&a, &size);
    printf("default %zu\n", size);
    pthread_attr_setstacksize(&a, 256 * 1024);
    pthread_attr_setguardsize(&a, 12288);
    printf("set %d\n", pthread_setattr_default_np(&a));
    make("new default", NULL);
    pthread_attr_init(&b);
    make("new default size", &b);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    printf("detached %d\n", pthread_setattr_default_np(&a));
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_JOINABLE);
    CHECK(pthread_setattr_default_np(&a) == 0);
    printf("concurrency %d %d %d %d\n", pthread_getconcurrency(), pthread_setconcurrency(7),
           pthread_getconcurrency(), pthread_setconcurrency(-1));
}

static pid_t id;
static void* ends(void* arg) {
    id = gettid();
    return arg;
}

static void ended(void) {
    pthread_t t = start(ends, NULL);
    int policy;
    struct sched_param p = {0};
    // Its handle is valid until the join; that it has ended is seen a moment later.
    while (pthread_getschedparam(t, &policy, &p) == 0) sched_yield();
    clockid_t clock;
    printf("ended: %d %d kill %d clock %d\n", pthread_getschedparam(t, &policy, &p),
           pthread_setschedparam(t, SCHED_OTHER, &p), pthread_kill(t, 0),
           pthread_getcpuclockid(t, &clock));
    finish(t);
    // The kernel forgets it a moment later.
    while (syscall(SYS_tgkill, getpid(), id, 0) == 0) sched_yield();
    printf("tgkill %d\n", errno);
    char name[4], one[1];
    printf("names %d %d\n", pthread_setname_np(pthread_self(), "0123456789abcdef"),
           pthread_getname_np(pthread_self(), name, sizeof name));
    printf("small mask %d\n", pthread_getaffinity_np(pthread_self(), 1, (cpu_set_t*)one));
    printf("scheduler %d %d", sched_getscheduler(-1), errno);
    printf(" %d %d\n", sched_setscheduler(0, 55, &p), errno);
}

int main(void) {
    CHECK(sem_init(&done, 0, 0) == 0);
    sizes();
    policies();
    defaults();
    tell("main");
    ended();
    return 0;
}
