// A thread finds itself and others in /proc: by its id, by thread-self, in the listing of
// /proc/self/task, through directory descriptors; comm can be read and written, stat and status
// tell its own id and name.
#include <dirent.h>
#include <sys/prctl.h>
#include <linux/futex.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "../../support/twin.h"

static std::string slurp(const std::string& path) {
    FILE* file = fopen(path.c_str(), "r");
    if (file == nullptr) return "cannot open";
    char text[8192];
    const size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    return std::string(text, size);
}
static bool spit(const std::string& path, const std::string& text) {
    const int fd = open(path.c_str(), O_WRONLY);
    if (fd < 0) return false;
    const bool good = write(fd, text.data(), text.size()) == (ssize_t)text.size();
    return close(fd) == 0 && good;
}
static std::string field(const std::string& text, const char* key) {
    const size_t at = text.find(key);
    if (at == std::string::npos) return "none";
    const size_t from = text.find_first_not_of(" \t", at + strlen(key));
    return text.substr(from, text.find('\n', from) - from);
}
static std::string task(pid_t tid, const char* file = "") {
    return "/proc/self/task/" + std::to_string(tid) + "/" + file;
}
static std::set<pid_t> listed(DIR* directory) {
    std::set<pid_t> found;
    while (dirent* entry = readdir(directory))
        if (entry->d_name[0] != '.') found.insert(atoi(entry->d_name));
    return found;
}

constexpr int kThreads = 300;
static pid_t ids[kThreads];
static sem_t told, leave;

static void check_name(const char* name) {
    char text[16], other[16];
    CHECK(pthread_getname_np(pthread_self(), text, sizeof text) == 0 && strcmp(text, name) == 0);
    CHECK(prctl(PR_GET_NAME, other) == 0 && strcmp(other, name) == 0);
    const std::string line = std::string(name) + "\n";
    CHECK(slurp(task(gettid(), "comm")) == line);
    CHECK(slurp("/proc/thread-self/comm") == line);
    CHECK(slurp("/proc/" + std::to_string(getpid()) + "/task/" + std::to_string(gettid()) +
                "/comm") == line);
    CHECK(slurp("/proc/" + std::to_string(gettid()) + "/comm") == line);
    const std::string stat = slurp(task(gettid(), "stat"));
    CHECK(stat.find(std::to_string(gettid()) + " (" + name + ") R ") == 0);
    const std::string status = slurp(task(gettid(), "status"));
    CHECK(field(status, "Name:") == name && field(status, "\nPid:") == std::to_string(gettid()));
    CHECK(field(status, "Tgid:") == std::to_string(getpid()));
}

static void* looks(void*) {
    CHECK(pthread_setname_np(pthread_self(), "by function") == 0);
    check_name("by function");
    CHECK(prctl(PR_SET_NAME, "by prctl, cut off") == 0);
    check_name("by prctl, cut o");
    CHECK(spit(task(gettid(), "comm"), "by file"));
    check_name("by file");
    CHECK(spit("/proc/thread-self/comm", "by thread-self"));
    check_name("by thread-self");

    char link[64] = "";
    CHECK(readlink("/proc/thread-self", link, sizeof link) > 0);
    CHECK(std::to_string(getpid()) + "/task/" + std::to_string(gettid()) == link);
    struct stat s;
    CHECK(stat(task(gettid()).c_str(), &s) == 0 && S_ISDIR(s.st_mode));
    CHECK(access(task(gettid(), "stat").c_str(), R_OK) == 0);
    CHECK(access(task(gettid(), "nothing").c_str(), F_OK) == -1 && errno == ENOENT);
    CHECK(open(task(gettid(), "nothing").c_str(), O_RDONLY) == -1 && errno == ENOENT);
    for (const char* file : {"sched", "schedstat", "syscall", "wchan", "limits", "maps", "cgroup"})
        CHECK(access(task(getpid(), file).c_str(), R_OK) != 0 ||
              slurp(task(gettid(), file)) != "cannot open");
    const int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY);
    const int own = openat(tasks, std::to_string(gettid()).c_str(), O_RDONLY | O_DIRECTORY);
    const int name = openat(own, "comm", O_RDONLY);
    char text[32] = "";
    CHECK(tasks >= 0 && own >= 0 && read(name, text, sizeof text) == 15);
    CHECK(strcmp(text, "by thread-self\n") == 0);
    CHECK(fstatat(tasks, std::to_string(gettid()).c_str(), &s, 0) == 0);
    close(tasks), close(own), close(name);
    return nullptr;
}

static void* waits(void* place) {
    *(pid_t*)place = gettid();
    sem_post(&told);
    wait_sem(&leave);
    return nullptr;
}

// A thread that is seen asleep in its only call waits there: each wake-up finds it.
constexpr int kWaits = 200;
static int word;
static std::atomic<pid_t> waiter;
static void* waits_on_word(void*) {
    waiter = gettid();
    syscall(SYS_futex, &word, FUTEX_WAIT, 0, nullptr);
    return nullptr;
}
static int woken_when_asleep() {
    int woken = 0;
    for (int i = 0; i < kWaits; i++) {
        waiter = 0;
        pthread_t t = start(waits_on_word, nullptr);
        while (waiter == 0) sched_yield();
        const std::string path = task(waiter, "stat");
        while (slurp(path).find(") S ") == std::string::npos) sched_yield();
        // Asleep for another reason (a page that comes from disk): once more.
        int got = 0;
        if ((got = (int)syscall(SYS_futex, &word, FUTEX_WAKE, 1)) == 1) woken++;
        while (got == 0) {
            sched_yield();
            got = (int)syscall(SYS_futex, &word, FUTEX_WAKE, 1);
        }
        finish(t);
    }
    return woken;
}

int main() {
    CHECK(sem_init(&told, 0, 0) == 0 && sem_init(&leave, 0, 0) == 0);
    printf("woken %d\n", woken_when_asleep() >= kWaits - kWaits / 10);
    finish(start(looks, nullptr));
    puts("own entry");
    std::vector<pthread_t> threads;
    for (pid_t& id : ids) threads.push_back(start(waits, &id));
    for (int i = 0; i < kThreads; i++) wait_sem(&told);
    DIR* directory = opendir("/proc/self/task");
    CHECK(directory != nullptr);
    int parked = 0;
    for (int round = 0; round < 2; round++) {
        std::set<pid_t> found = listed(directory);
        CHECK_EQ(found.size(), kThreads + 1);
        CHECK(found.count(getpid()) == 1);
        for (pid_t id : ids) CHECK(found.count(id) == 1);
        rewinddir(directory);
    }
    closedir(directory);
    struct stat s;
    CHECK(stat("/proc/self/task", &s) == 0);
    printf("listed %d links %d\n", kThreads, (int)s.st_nlink);
    for (int i = 0; i < kThreads; i++) {
        CHECK(pthread_setname_np(threads[(size_t)i], "named by main") == 0);
        CHECK(slurp(task(ids[i], "comm")) == "named by main\n");
        parked += slurp(task(ids[i], "stat")).find(" (named by main) S ") != std::string::npos;
        CHECK(spit(task(ids[i], "comm"), "main"));
        char text[16];
        CHECK(pthread_getname_np(threads[(size_t)i], text, 16) == 0 && strcmp(text, "main") == 0);
    }
    printf("parked %d\n", parked >= kThreads - 1);
    CHECK(spit("/proc/self/comm", "the process"));
    char text[16];
    CHECK(pthread_getname_np(pthread_self(), text, 16) == 0);
    printf("main %s %s", text, slurp("/proc/self/comm").c_str());
    for (int i = 0; i < kThreads; i++) sem_post(&leave);
    for (pthread_t t : threads) finish(t);
    // The kernel takes an ended thread out of the listing a moment after it was joined.
    bool gone = false;
    while (!gone) gone = access(task(ids[0], "comm").c_str(), F_OK) == -1 && errno == ENOENT;
    printf("gone %d\n", gone);
    return 0;
}
