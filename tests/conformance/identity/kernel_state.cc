// What the kernel keeps per thread stays with the thread that changed it and is inherited by the
// threads it creates: network namespaces, nice values, I/O priority, timer slack, capabilities, raw
// set*id, personality, no_new_privs.  Many other threads run meanwhile and see nothing of it.
// limit: 40
#include <linux/capability.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "../../support/twin.h"

static ino_t network() {
    struct stat s;
    CHECK(stat("/proc/thread-self/ns/net", &s) == 0);
    return s.st_ino;
}

struct State {
    ino_t net;
    int nice, io, slack, effective_user, persona, no_new_privileges;
    unsigned capabilities;

    static State now() {
        __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
        __user_cap_data_struct data[2] = {};
        CHECK(syscall(SYS_capget, &head, data) == 0);
        errno = 0;
        State s;
        s.net = network();
        s.nice = getpriority(PRIO_PROCESS, 0);
        s.io = (int)syscall(SYS_ioprio_get, 1, 0);
        s.slack = prctl(PR_GET_TIMERSLACK);
        s.effective_user = (int)syscall(SYS_geteuid);
        s.persona = personality(0xffffffff);
        s.no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
        s.capabilities = data[0].effective;
        return s;
    }
    bool operator==(const State& o) const {
        return net == o.net && nice == o.nice && io == o.io && slack == o.slack &&
               effective_user == o.effective_user && persona == o.persona &&
               no_new_privileges == o.no_new_privileges && capabilities == o.capabilities;
    }
};

static State home;
static std::atomic<bool> over;
static std::atomic<int> changed;

static void* inherits(void* creator) {
    const State own = State::now();
    for (int i = 0; i < 10; i++) {
        sched_yield();
        nap(i % 4 == 0);
        CHECK(State::now() == own);
    }
    return (void*)(intptr_t)(own == *(const State*)creator);
}

static void keeps() {
    State own = State::now();
    CHECK(!(own == home));
    for (int i = 0; i < 20; i++) {
        sched_yield();
        nap(i % 4 == 0);
        CHECK(State::now() == own);
    }
    CHECK(finish(start(inherits, &own)) != nullptr);
    changed++;
}

static void* own_nice(void*) {
    errno = 0;
    CHECK(nice(3) == home.nice + 3);
    CHECK(getpriority(PRIO_PROCESS, (id_t)gettid()) == home.nice + 3);
    keeps();
    return nullptr;
}
static void* own_io(void*) {
    CHECK(syscall(SYS_ioprio_set, 1, gettid(), 2 << 13 | 6) == 0);
    CHECK(syscall(SYS_ioprio_get, 1, gettid()) == (2 << 13 | 6));
    keeps();
    return nullptr;
}
static void* own_slack(void*) {
    CHECK(prctl(PR_SET_TIMERSLACK, 123456) == 0);
    keeps();
    return nullptr;
}
static void* own_capabilities(void*) {
    __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, gettid()};
    __user_cap_data_struct data[2] = {};
    CHECK(syscall(SYS_capget, &head, data) == 0);
    data[0].effective &= ~(1u << CAP_SYS_CHROOT);
    head.pid = 0;
    CHECK(syscall(SYS_capset, &head, data) == 0);
    keeps();
    return nullptr;
}
static void* own_user(void*) {
    CHECK(syscall(SYS_setresuid, -1, 1234, -1) == 0);  // this thread's alone
    keeps();
    return nullptr;
}
static void* own_personality(void*) {
    CHECK(personality(ADDR_NO_RANDOMIZE) >= 0);
    keeps();
    return nullptr;
}
static void* own_promise(void*) {
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    keeps();
    return nullptr;
}

static std::atomic<int> refused;
static ino_t nets[6];
static void* own_network(void* place) {
    if (unshare(CLONE_NEWNET) != 0) {
        CHECK(errno == EPERM);
        refused++;
        return nullptr;
    }
    *(ino_t*)place = network();
    keeps();
    // Into the process's namespace and back, as a daemon does for each container.
    const int old = open("/proc/thread-self/ns/net", O_RDONLY);
    const int first = open(("/proc/" + std::to_string(getpid()) + "/ns/net").c_str(), O_RDONLY);
    for (int i = 0; i < 5; i++) {
        CHECK(setns(first, CLONE_NEWNET) == 0 && network() == home.net);
        nap(1);
        CHECK(setns(old, CLONE_NEWNET) == 0 && network() == *(ino_t*)place);
        nap(1);
    }
    close(old), close(first);
    return nullptr;
}

static void* stays(void*) {
    while (!over) {
        CHECK(State::now() == home);
        nap(5);
    }
    return nullptr;
}

static void* is_named_by_others(void* go) {
    wait_sem((sem_t*)go);
    return (void*)(intptr_t)(getpriority(PRIO_PROCESS, 0) == home.nice + 5);
}

int main() {
    home = State::now();
    std::vector<pthread_t> others, changers;
    for (int i = 0; i < 300; i++) others.push_back(start(stays, nullptr));
    for (ino_t& place : nets) changers.push_back(start(own_network, &place));
    for (auto body : {own_nice, own_io, own_slack, own_personality, own_promise})
        changers.push_back(start(body, nullptr));
    const bool is_root = geteuid() == 0;
    if (is_root)
        for (auto body : {own_capabilities, own_user}) changers.push_back(start(body, nullptr));
    for (pthread_t t : changers) finish(t);
    for (int i = 0; i < 100; i++) others.push_back(start(stays, nullptr));
    nap(20);
    over = true;
    for (pthread_t t : others) finish(t);
    CHECK(State::now() == home);
    std::set<ino_t> different(nets, nets + 6);
    if (refused == 0) CHECK(different.size() == 6 && different.count(home.net) == 0);
    printf("changed %d namespaces %d root %d\n", changed.load(), (int)different.size(), is_root);

    sem_t go;
    CHECK(sem_init(&go, 0, 0) == 0);
    pid_t tid = 0;
    struct Job {
        pid_t* tid;
        sem_t *told, *go;
    };
    sem_t told;
    CHECK(sem_init(&told, 0, 0) == 0);
    Job job = {&tid, &told, &go};
    pthread_t t = start(
        [](void* arg) -> void* {
            auto* j = (Job*)arg;
            *j->tid = gettid();
            sem_post(j->told);
            return is_named_by_others(j->go);
        },
        &job);
    wait_sem(&told);
    CHECK(setpriority(PRIO_PROCESS, (id_t)tid, home.nice + 5) == 0);
    CHECK(getpriority(PRIO_PROCESS, (id_t)tid) == home.nice + 5);
    sem_post(&go);
    printf("nice by another %d\n", finish(t) != nullptr);
    errno = 0;
    printf("nobody %d %d\n", setpriority(PRIO_PROCESS, 1 << 29, 0), errno == ESRCH);
    return 0;
}
