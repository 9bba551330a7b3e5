// limit: 40
// expect: resizes>=2
// The automatic number of processors follows the affinity mask of the process's kernel threads.
#include "twin.h"

#include <dirent.h>
#include <sched.h>

#include <atomic>

#include "../../../interpose/pfiber.h"
#include "inline_syscall.h"

static std::atomic<bool> over;
static std::atomic<long> turns;

static void* works(void*) {
    while (!over) {
        for (int i = 0; i < 1000; i++) turns++;
        pfiber_gosched();
    }
    return nullptr;
}

// As `taskset -a -p` does, from outside: every kernel thread of the process.
static void set_all(const cpu_set_t* mask) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", getpid());
    const pid_t child = fork();
    if (child != 0) {
        CHECK_EQ(waitpid(child, nullptr, 0), child);
        return;
    }
    DIR* folder = opendir(path);
    CHECK(folder != nullptr);
    while (const dirent* entry = readdir(folder)) {
        const long tid = atol(entry->d_name);
        if (tid > 0)
            inline_syscall(SYS_sched_setaffinity, tid, sizeof *mask, reinterpret_cast<long>(mask),
                           0);
    }
    _exit(0);
}

static void wait_for_count(int wanted) {
    while (pfiber_active() && pfiber_gomaxprocs(0) != wanted) {
        const long seen = turns;
        while (turns < seen + 1000) nap(1);
    }
}

int main() {
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
    pfiber_setdefaultgomaxprocs();
    pthread_t threads[3];
    for (pthread_t& thread : threads) thread = start(works, nullptr);
    const int before = pfiber_gomaxprocs(0);
    set_all(&one);
    wait_for_count(1);
    set_all(&all);
    wait_for_count(before);
    pfiber_gomaxprocs(3);
    pfiber_gomaxprocs(1);  // asked for: from now on nobody follows anything
    over = true;
    for (pthread_t thread : threads) finish(thread);
    puts("followed");
    return 0;
}
