// See credentials.h.
#include "shim/credentials.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include <atomic>

#include "scheduler/base/options.h"
#include "scheduler/host/call_filter.h"
#include "scheduler/host/report.h"
#include "scheduler/host/thread_state.h"
#include "scheduler/lock.h"
#include "scheduler/runtime.h"
#include "scheduler/scheduler.h"

namespace pfiber::shim {

namespace {

constexpr int kMostThreads = 4096;

// libc's own for this purpose (SIGSETXID): its helper threads (timers with SIGEV_THREAD) block all
// others.
constexpr int kSignalOfLibc = 33;

struct Request {
    std::atomic<int> active{0};
    std::atomic<int> error{0};
    std::atomic<long> result{0};
    long number, arguments[4];
    std::atomic<int> count{0};
    struct {
        std::atomic<int> tid;
        std::atomic<int> done;
    } threads[kMostThreads];
};
Request request;
Lock request_lock;

struct KernelDirent {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

int parse(const char* digits) {
    int value = 0;
    for (; *digits >= '0' && *digits <= '9'; digits++) value = value * 10 + (*digits - '0');
    return value;
}

bool is_listed(int tid) {
    for (int i = 0; i < request.count.load(); i++)
        if (request.threads[i].tid.load() == tid) return true;
    return false;
}

// False when it was asked before, or there is no room.
bool ask(int tid, int self) {
    const int count = request.count.load();
    if (tid <= 0 || tid == self || is_listed(tid) || count == kMostThreads) return false;
    request.threads[count].tid.store(tid);
    request.threads[count].done.store(0);
    request.count.store(count + 1);
    host::raw_tgkill(host::raw_getpid(), tid, static_cast<int>(options().signal));
    if (!is_worker_tid(tid)) host::raw_tgkill(host::raw_getpid(), tid, kSignalOfLibc);
    return true;
}

// Without /proc (after a chroot, say): the threads that the runtime made.
bool ask_known_threads(int self) {
    bool found = ask(host::thread_state_helper(), self);
    for (Worker* worker = g_scheduler.workers.load(); worker != nullptr; worker = worker->all_next)
        found |= ask(worker->tid.load(), self);
    return found;
}

// Asks every thread that is not on the list yet; false when there was none.
bool ask_new_threads(int self) {
    const long fd = host::optional_syscall(host::kOpenat, SYS_openat, AT_FDCWD, "/proc/self/task",
                                           O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (host::is_error(fd)) return ask_known_threads(self);
    bool found = false;
    alignas(8) char buffer[4096];
    for (;;) {
        const long size = host::raw_syscall(SYS_getdents64, fd, buffer, sizeof buffer);
        if (size <= 0) break;
        for (long at = 0; at < size;) {
            const auto* entry = reinterpret_cast<const KernelDirent*>(buffer + at);
            at += entry->length;
            found |= ask(parse(entry->name), self);
        }
    }
    host::raw_close(static_cast<int>(fd));
    return found;
}

// Until each has made the call or is gone.
void await_all() {
    for (int i = 0; i < request.count.load(); i++) {
        while (request.threads[i].done.load() == 0) {
            if (host::raw_tgkill(host::raw_getpid(), request.threads[i].tid.load(), 0) == -ESRCH)
                break;
            timespec nap{0, 20000};
            host::raw_syscall(SYS_nanosleep, &nap, nullptr);
        }
    }
}

}  // namespace

void credentials_check() {
    if (__builtin_expect(request.active.load(std::memory_order_acquire) == 0, 1)) return;
    const int tid = host::raw_gettid();
    for (int i = 0; i < request.count.load(); i++) {
        if (request.threads[i].tid.load() != tid || request.threads[i].done.load() != 0) continue;
        const long rc =
            host::raw_syscall(request.number, request.arguments[0], request.arguments[1],
                              request.arguments[2], request.arguments[3]);
        request.result.store(rc);
        if (rc != 0) request.error.store(static_cast<int>(-rc));
        request.threads[i].done.store(1);
    }
}

void credentials_serve() { credentials_check(); }

namespace {

void on_signal_of_libc(int, siginfo_t*, void*) { credentials_check(); }

// Request locked.
void open_request(long number, long a, long b, long c, long d) {
    request.number = number;
    request.arguments[0] = a;
    request.arguments[1] = b;
    request.arguments[2] = c;
    request.arguments[3] = d;
    request.count.store(0);
    request.error.store(0);
    request.active.store(1, std::memory_order_release);
    host::install_handler(kSignalOfLibc, on_signal_of_libc, SA_RESTART | SA_ONSTACK, ~uint64_t{0});
}

long broadcast(long number, long a, long b, long c, int* error) {
    OptionalSection section;
    LockGuard guard(request_lock);
    const long rc = host::raw_syscall(number, a, b, c);
    if (rc != 0) return rc;
    open_request(number, a, b, c, 0);
    // A thread cloned meanwhile inherits either credentials: look again until nobody is new.
    while (ask_new_threads(host::raw_gettid())) {
        request_monitor(kServeCredentials);
        await_all();
    }
    request.active.store(0);
    *error = request.error.load();
    return 0;
}

}  // namespace

long call_as_parent(long number, long a, long b, long c, long d) {
    OptionalSection section;
    LockGuard guard(request_lock);
    long result = -ESRCH;
    for (Worker* worker = g_scheduler.workers.load(); worker != nullptr && result == -ESRCH;
         worker = worker->all_next) {
        if (!worker->has_children) continue;
        open_request(number, a, b, c, d);
        request.result.store(-ESRCH);
        if (ask(worker->tid.load(), host::raw_gettid())) {
            request_monitor(kServeCredentials);
            await_all();
        }
        request.active.store(0);
        result = request.result.load();
    }
    return result;
}

long set_credentials(long number, long a, long b, long c) {
    int error = 0;
    const long rc = broadcast(number, a, b, c, &error);
    // One thread with other rights than the rest is a security hole: no way on, as in libc.
    if (error != 0) {
        host::warn("set*id failed on one kernel thread only (error %d): abort", error);
        abort();
    }
    return rc;
}

}  // namespace pfiber::shim
