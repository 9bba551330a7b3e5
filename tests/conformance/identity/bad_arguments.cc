// Calls about threads with addresses that cannot be read or written, null pointers, wrong ids: the
// errors that the kernel names, and nothing changes.
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../../support/twin.h"

static void line(const char* what, long rc) {
    printf("%s %ld %s\n", what, rc, rc == -1 ? strerrorname_np(errno) : "-");
}

static void* asks(void*) {
    void* bad = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    auto* path = static_cast<char*>(bad);
    cpu_set_t set;
    sched_param p = {};
    struct stat s;
    line("setaffinity", sched_setaffinity(0, sizeof set, static_cast<cpu_set_t*>(bad)));
    line("getaffinity", sched_getaffinity(0, sizeof set, static_cast<cpu_set_t*>(bad)));
    line("getaffinity of -1", sched_getaffinity(-1, sizeof set, &set));
    line("setparam null", sched_setparam(0, nullptr));
    line("getparam null", sched_getparam(0, nullptr));
    line("getparam of -1", sched_getparam(-1, &p));
    line("setscheduler null", sched_setscheduler(0, SCHED_OTHER, nullptr));
    line("setscheduler of nobody", sched_setscheduler(1 << 29, SCHED_OTHER, &p));
    line("rr_get_interval of nobody", sched_rr_get_interval(1 << 29, nullptr));
    line("PR_SET_NAME", prctl(PR_SET_NAME, bad));
    line("PR_GET_NAME", prctl(PR_GET_NAME, bad));
    line("PR unknown", prctl(123456, 0, 0, 0, 0));
    line("open", open(path, O_RDONLY));
    line("stat path", stat(path, &s));
    line("stat buffer", stat("/proc/self/task", static_cast<struct stat*>(bad)));
    line("readlink", readlink(path, (char*)&s, 16));
    line("access", access(path, R_OK));
    line("setpriority kind", setpriority((__priority_which_t)17, 0, 0));
    line("getpriority of nobody", getpriority(PRIO_PROCESS, 1 << 29));
    line("ioprio", syscall(SYS_ioprio_get, 1, 1 << 29));
    line("ioprio kind", syscall(SYS_ioprio_get, 9, 0));
    line("sched_getattr of nobody", syscall(SYS_sched_getattr, 1 << 29, &set, 48, 0));
    line("setns", setns(-1, 0));
    line("unshare", unshare(1));
    line("capget", syscall(SYS_capget, bad, nullptr));
    line("getrusage", syscall(SYS_getrusage, RUSAGE_THREAD, bad));
    line("no thread", open("/proc/self/task/536870912/comm", O_RDONLY));
    line("no thread", readlink("/proc/self/task/536870912/cwd", path, 16));
    char name[16];
    CHECK(pthread_getname_np(pthread_self(), name, sizeof name) == 0);
    printf("still called %s\n", name);
    return nullptr;
}

int main() {
    pthread_setname_np(pthread_self(), "a name");
    finish(start(asks, nullptr));
    return 0;
}
