// See runtime_descriptors.h.
#include "scheduler/runtime_descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "scheduler/host/syscall.h"
#include "scheduler/lock.h"
#include "scheduler/poller.h"
#include "scheduler/scheduler.h"

namespace pfiber {

namespace {

constexpr int kMaxRuntimeDescriptors = 2 * kMaxProcessors + 4;
int runtime_descriptors[kMaxRuntimeDescriptors];
std::atomic<int> runtime_descriptor_count{0};
std::atomic<int> lowest_runtime_descriptor{INT32_MAX};

Lock limit_lock;  // two that raise the limit at once would leave it raised
std::atomic<int> private_being_made{0};

}  // namespace

rlimit raised_limit(const rlimit& limit, rlim_t more) {
    rlimit raised{limit.rlim_cur + more, limit.rlim_max};
    if (limit.rlim_cur == limit.rlim_max)
        raised.rlim_max = raised.rlim_cur;
    else if (raised.rlim_cur > limit.rlim_max)
        raised.rlim_cur = limit.rlim_max;
    return raised;
}

namespace {

// A duplicate out of the program's way: above its limit where that may be raised for a moment, so
// that no number which the program can have is taken, else as high as possible.  limit_lock held.
int duplicate_locked(int fd) {
    rlimit limit{};
    if (host::raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit) != 0) return -1;
    constexpr rlim_t kHighest = 1 << 16;  // the kernel's table grows with the highest number
    constexpr rlim_t kRoom = 4096;
    long made = -1;
    if (limit.rlim_cur <= kHighest) {
        const rlimit raised = raised_limit(limit, kRoom);
        if (host::raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &raised, nullptr) == 0) {
            made = host::raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, limit.rlim_cur);
            host::raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, nullptr);
        }
    }
    const rlim_t top = limit.rlim_cur < kHighest ? limit.rlim_cur : kHighest;
    for (rlim_t below = 64; below <= top && made < 0; below *= 2)
        made = host::raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, top - below);
    return made < 0 ? -1 : static_cast<int>(made);
}

int duplicate_high(int fd) {
    LockGuard guard(limit_lock);
    return duplicate_locked(fd);
}

// The number that the program's next open would get stays free.
int move_up(long fd) {
    if (host::is_error(fd)) return g_start_error = -fd, -1;
    const int moved = duplicate_high(static_cast<int>(fd));
    if (moved < 0) return static_cast<int>(fd);
    host::raw_close(static_cast<int>(fd));
    return moved;
}

}  // namespace

int runtime_descriptor_adopt(long created) {
    const int fd = move_up(created);
    if (fd < 0) return fd;
    const int at = runtime_descriptor_count.load();
    runtime_descriptors[at] = fd;
    runtime_descriptor_count.store(at + 1);
    if (fd < lowest_runtime_descriptor.load()) lowest_runtime_descriptor.store(fd);
    return fd;
}

void runtime_descriptor_drop(int fd) {
    const int last = runtime_descriptor_count.load() - 1;
    for (int i = 0; i <= last; i++) {
        if (runtime_descriptors[i] != fd) continue;
        runtime_descriptors[i] = runtime_descriptors[last];
        runtime_descriptor_count.store(last);
        host::raw_close(fd);
        return;
    }
}

void runtime_descriptors_close() {
    const int count = runtime_descriptor_count.load();
    for (int i = 0; i < count; i++) host::raw_close(runtime_descriptors[i]);
    runtime_descriptor_count.store(0);
    lowest_runtime_descriptor.store(INT32_MAX);
    limit_lock.reset();
}

bool is_runtime_descriptor(int fd) {
    if (fd < lowest_runtime_descriptor.load(std::memory_order_relaxed)) return false;
    const int count = runtime_descriptor_count.load(std::memory_order_relaxed);
    for (int i = 0; i < count; i++)
        if (runtime_descriptors[i] == fd) return true;
    return false;
}

// Waiters inside the old number's instance stay with its file; a caller that has just read the old
// number meets the program's file there and is told that it is no epoll instance.
bool evade_runtime_descriptor(int fd) {
    static Lock moving;
    LockGuard guard(moving);
    const int count = runtime_descriptor_count.load();
    for (int i = 0; i < count; i++) {
        if (runtime_descriptors[i] != fd) continue;
        const int moved = duplicate_high(fd);
        if (moved < 0) return false;
        poller_descriptor_moved(fd, moved);
        if (moved < lowest_runtime_descriptor.load()) lowest_runtime_descriptor.store(moved);
        runtime_descriptors[i] = moved;
        return true;
    }
    return true;
}

int duplicate_private(int fd, Descriptor** copy) {
    private_being_made.fetch_add(1);
    int made = -1;
    {
        LockGuard guard(limit_lock);
        made = duplicate_locked(fd);
        *copy = made >= 0 ? descriptor_of(made) : nullptr;
        if (*copy != nullptr) (*copy)->private_references.store(1);
    }
    private_being_made.fetch_sub(1);
    return made;
}

namespace {

bool has_private_references(int fd) {
    const Descriptor* descriptor = descriptor_if_known(fd);
    return descriptor != nullptr &&
           (descriptor->private_references.load(std::memory_order_relaxed) > 0 ||
            descriptor->private_closing.load(std::memory_order_relaxed) > 0);
}

}  // namespace

bool is_private_descriptor(int fd) {
    if (has_private_references(fd)) return true;
    if (__builtin_expect(private_being_made.load(std::memory_order_relaxed) == 0, 1)) return false;
    // Perhaps it is this one, open already and not marked yet.
    OptionalSection section;
    LockGuard guard(limit_lock);
    return has_private_references(fd);
}

int next_runtime_descriptor(int first) {
    int lowest = -1;
    const int count = runtime_descriptor_count.load(std::memory_order_relaxed);
    for (int i = 0; i < count; i++)
        if (runtime_descriptors[i] >= first && (lowest < 0 || runtime_descriptors[i] < lowest))
            lowest = runtime_descriptors[i];
    return lowest;
}

}  // namespace pfiber
