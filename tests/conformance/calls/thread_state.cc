// What the kernel keeps for each thread: nice values, scheduling, personality, file-system ids,
// capabilities, namespaces, I/O ports, segment bases, local descriptor tables.  The thread that
// sets it has it wherever it goes on, another one does not; refusals are those of the manual pages.
// expect: fibers>=20 native_fallbacks=0 locked>=18
#include "../../support/twin.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <dlfcn.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>

extern "C" {
int capset(void*, const void*);
int capget(void*, void*);
int arch_prctl(int, unsigned long);
int modify_ldt(int, void*, unsigned long);
}

struct Subject {
    const char* name;
    void (*set)();
    long (*get)();
};

// The state survives what moves threads about.
static void* sets(void* argument) {
    const auto* subject = static_cast<Subject*>(argument);
    const long before = subject->get();
    subject->set();
    const long after = subject->get();
    CHECK_NE(before, after);
    for (int i = 0; i < 20; i++) {
        sched_yield();
        if (i % 5 == 0) nap(1);
        CHECK_EQ(subject->get(), after);
    }
    return nullptr;
}

static void set_nice() {
    const int before = getpriority(PRIO_PROCESS, 0);
    CHECK_EQ(nice(2), before + 2);
    CHECK_EQ(getpriority(PRIO_PROCESS, (id_t)gettid()), before + 2);
}
static long get_nice() { return getpriority(PRIO_PROCESS, 0); }
static void set_priority() {
    CHECK(setpriority(PRIO_PROCESS, 0, 3) == 0);
    CHECK(setpriority(PRIO_PROCESS, (id_t)gettid(), 4) == 0);
    CHECK_ERRNO(setpriority(99, 0, 4), EINVAL);
    CHECK_ERRNO(setpriority(PRIO_PROCESS, 0x3fffffff, 4), ESRCH);
    CHECK_ERRNO(getpriority((__priority_which_t)99, 0), EINVAL);
}
static void set_affinity() {
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (int i = 0; CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    CPU_ZERO(&one);
    CHECK_ERRNO(sched_setaffinity(0, sizeof one, &one), EINVAL);
}
static long get_affinity() {
    cpu_set_t set;
    CHECK(sched_getaffinity(gettid(), sizeof set, &set) == 0);
    return CPU_COUNT(&set);
}

static int (*set_scheduler)(pid_t, int, const sched_param*);
static int (*get_scheduler)(pid_t);
static int (*get_param)(pid_t, sched_param*);
static void set_policy() {
    sched_param p = {};
    CHECK(set_scheduler(0, SCHED_BATCH, &p) == 0 && get_scheduler(0) == SCHED_BATCH);
    CHECK(sched_setparam(0, &p) == 0 && get_param(0, &p) == 0 && p.sched_priority == 0);
    // By its own id, too.
    CHECK(sched_setparam(gettid(), &p) == 0 && get_param(gettid(), &p) == 0);
    CHECK(set_scheduler(gettid(), SCHED_BATCH, &p) == 0 && get_scheduler(gettid()) == SCHED_BATCH);
    p.sched_priority = 1;
    CHECK_ERRNO(sched_setparam(0, &p), EINVAL);
    CHECK_ERRNO(set_scheduler(0, 99, &p), EINVAL);
    CHECK_ERRNO(get_scheduler(0x3fffffff), ESRCH);
    CHECK_ERRNO(get_param(0x3fffffff, &p), ESRCH);
    timespec interval = {-1, -1};
    CHECK(sched_rr_get_interval(gettid(), &interval) == 0 && interval.tv_sec == 0);
    CHECK_ERRNO(sched_rr_get_interval(0x3fffffff, &interval), ESRCH);
}
static long get_policy() { return get_scheduler(0); }

static void set_personality() {
    CHECK_EQ(personality(ADDR_NO_RANDOMIZE | personality(0xffffffff)) & ADDR_NO_RANDOMIZE, 0);
}
static long get_personality() { return personality(0xffffffff); }
// The fourth column is that of the file system.
static long id_of(const char* key) {
    FILE* status = fopen("/proc/thread-self/status", "r");
    CHECK(status != nullptr);
    char line[256];
    long id = -1;
    while (fgets(line, sizeof line, status) != nullptr)
        if (strncmp(line, key, 4) == 0) CHECK_EQ(sscanf(line + 4, "%*d %*d %*d %ld", &id), 1);
    CHECK(fclose(status) == 0);
    return id;
}
static void set_fsuid() { CHECK_EQ(setfsuid(4321), (int)geteuid()); }
static long get_fsuid() { return id_of("Uid:"); }
static void set_fsgid() { CHECK_EQ(setfsgid(4321), (int)getegid()); }
static long get_fsgid() { return id_of("Gid:"); }

static __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
static long get_capabilities() {
    __user_cap_header_struct own = header;
    __user_cap_data_struct data[2];
    CHECK(capget(&own, data) == 0);
    return data[0].effective;
}
static void set_capabilities() {
    __user_cap_header_struct own = header;
    __user_cap_data_struct data[2];
    CHECK(capget(&own, data) == 0);
    data[0].effective &= ~(1u << CAP_SYS_NICE);
    CHECK(capset(&own, data) == 0);
    own.version = 1;
    CHECK_ERRNO(capset(&own, data), EINVAL);
}

static int home;
static long get_namespace() {
    char name[64];
    const ssize_t n = readlink("/proc/thread-self/ns/uts", name, sizeof name - 1);
    CHECK_GT(n, 0);
    name[n] = 0;
    return atol(strchr(name, '[') + 1);
}
static void set_namespace() {
    CHECK(unshare(CLONE_NEWUTS) == 0);
    const long away = get_namespace();
    CHECK(setns(home, CLONE_NEWUTS) == 0 && get_namespace() != away);
    CHECK_ERRNO(setns(-1, CLONE_NEWUTS), EBADF);
    CHECK_ERRNO(unshare(1 << 24), EINVAL);
    CHECK(unshare(CLONE_NEWUTS) == 0);
}

static void set_gs() {
    CHECK(arch_prctl(ARCH_SET_GS, 0x12340000) == 0);
    CHECK_ERRNO(arch_prctl(99, 0), EINVAL);
}
static long get_gs() {
    unsigned long base = 0;
    auto spelled = (int (*)(int, unsigned long*))dlsym(RTLD_DEFAULT, "__arch_prctl");
    CHECK(spelled != nullptr && spelled(ARCH_GET_GS, &base) == 0);
    return (long)base;
}

// Each of these binds its thread, whether it succeeds or not; those that a kernel may be built
// without are compared with native by the output.
static void* sets_ports(void* unused) {
    CHECK(ioperm(1 << 20, 1, 1) == -1 && (errno == EINVAL || errno == ENOSYS));
    printf("ioperm %s\n", strerrorname_np(errno));
    return unused;
}
static void* sets_level(void* unused) {
    CHECK(iopl(9) == -1 && (errno == EINVAL || errno == ENOSYS));
    printf("iopl %s\n", strerrorname_np(errno));
    return unused;
}
static void* sets_table(void* unused) {
    user_desc entry = {};
    entry.entry_number = 5;
    entry.limit = 1;
    CHECK(modify_ldt(1, &entry, sizeof entry) == 0);
    char table[64];
    CHECK_GE(modify_ldt(0, table, sizeof table), 48);
    printf("modify_ldt %d\n", modify_ldt(99, table, sizeof table));
    return unused;
}
static void* allocates_key(void* unused) {
    CHECK_ERRNO(pkey_alloc(1, 0), EINVAL);
    return unused;
}
static void* sets_key(void* unused) {
    CHECK_ERRNO(pkey_set(99, 0), EINVAL);
    const int key = pkey_alloc(0, PKEY_DISABLE_WRITE);
    if (key >= 0) {  // else the machine has none
        CHECK(pkey_set(key, PKEY_DISABLE_ACCESS) == 0);
        sched_yield();
        nap(1);
        CHECK_EQ(pkey_get(key), PKEY_DISABLE_ACCESS);
        CHECK(pkey_free(key) == 0);
    }
    return unused;
}

static int away;
static sem_t opened, entered;
static void* makes_namespace(void* unused) {
    CHECK(unshare(CLONE_NEWUTS) == 0);
    CHECK((away = open("/proc/thread-self/ns/uts", O_RDONLY)) >= 0);
    sem_post(&opened);
    wait_sem(&entered);
    return unused;
}
static void* enters_namespace(void* unused) {
    wait_sem(&opened);
    const long before = get_namespace();
    CHECK(setns(away, CLONE_NEWUTS) == 0);
    const long after = get_namespace();
    CHECK_NE(before, after);
    for (int i = 0; i < 5; i++) {
        nap(1);
        CHECK_EQ(get_namespace(), after);
    }
    sem_post(&entered);
    return unused;
}

// CPU time belongs to the thread, not to what runs it.
static void* burns(void* unused) {
    timespec used = {};
    while (used.tv_sec == 0 && used.tv_nsec < 60000000) {
        for (volatile int i = 0; i < 100000; i = i + 1) {
        }
        CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0);
    }
    return unused;
}
static void* has_used_little(void* unused) {
    rusage usage;
    CHECK(getrusage(RUSAGE_THREAD, &usage) == 0);
    CHECK_LT(usage.ru_utime.tv_sec * 1000 + usage.ru_utime.tv_usec / 1000, 30);
    CHECK_ERRNO(getrusage((__rusage_who_t)99, &usage), EINVAL);
    return unused;
}

int main() {
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0) SKIP("needs the right to mount");
    home = open("/proc/self/ns/uts", O_RDONLY);
    CHECK(home >= 0);
    int count = 0;
    const char* names[][3] = {{"sched_setscheduler", "sched_getscheduler", "sched_getparam"},
                              {"__sched_setscheduler", "__sched_getscheduler", "__sched_getparam"}};
    for (const auto& name : names) {
        set_scheduler = (decltype(set_scheduler))dlsym(RTLD_DEFAULT, name[0]);
        get_scheduler = (decltype(get_scheduler))dlsym(RTLD_DEFAULT, name[1]);
        get_param = (decltype(get_param))dlsym(RTLD_DEFAULT, name[2]);
        CHECK(set_scheduler && get_scheduler && get_param);
        Subject policy = {"policy", set_policy, get_policy};
        finish(start(sets, &policy));
        count++;
    }
    Subject subjects[] = {{"nice", set_nice, get_nice},
                          {"priority", set_priority, get_nice},
                          {"personality", set_personality, get_personality},
                          {"fsuid", set_fsuid, get_fsuid},
                          {"fsgid", set_fsgid, get_fsgid},
                          {"capabilities", set_capabilities, get_capabilities},
                          {"namespace", set_namespace, get_namespace},
                          {"gs", set_gs, get_gs}};
    long before[COUNT(subjects)];
    pthread_t threads[COUNT(subjects)];
    for (int i = 0; i < COUNT(subjects); i++) before[i] = subjects[i].get();
    for (int i = 0; i < COUNT(subjects); i++) threads[i] = start(sets, &subjects[i]);
    for (int i = 0; i < COUNT(subjects); i++) finish(threads[i]);
    // Here nothing changed.
    for (int i = 0; i < COUNT(subjects); i++) {
        CHECK_EQ(subjects[i].get(), before[i]);
        printf("%s\n", subjects[i].name);
        count++;
    }
    if (get_affinity() > 1) {
        Subject affinity = {"affinity", set_affinity, get_affinity};
        finish(start(sets, &affinity));
    }
    CHECK_OK(sem_init(&opened, 0, 0));
    CHECK_OK(sem_init(&entered, 0, 0));
    const pthread_t maker = start(makes_namespace, nullptr);
    void* (*const others[])(void*) = {enters_namespace, sets_ports,    sets_level, sets_table,
                                      sets_key,         allocates_key, burns,      has_used_little};
    for (auto* other : others) finish(start(other, nullptr));
    finish(maker);
    printf("%d\n", count);
    return 0;
}
