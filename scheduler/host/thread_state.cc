// See thread_state.h.
#include "scheduler/host/thread_state.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <atomic>

#include "scheduler/host/call_filter.h"
#include "scheduler/host/kernel_thread.h"
#include "scheduler/host/report.h"
#include "scheduler/host/syscall.h"

namespace pfiber::host {

namespace {

constexpr size_t kStackBytes = 32 * 1024;
constexpr uint32_t kIdle = 0, kAskedState = 1, kAskedRing = 2, kAnswered = 3;
constexpr size_t kPage = 4096;
constexpr size_t kRingBytes = 2 * kPage;  // the kernel's words, then the records

KernelThreadMemory memory;
std::atomic<int> helper_tid{0};
std::atomic<uint32_t> word{kIdle};
std::atomic<int> asked_tid{0};
std::atomic<long> answer{0};
long proc_fd = -1;  // in the helper's table: a later chroot does not hide it
bool is_running = false;
bool is_perf_refused = false;

const volatile uint32_t* address() { return reinterpret_cast<const volatile uint32_t*>(&word); }

ThreadState read_state(int tid) {
    Line path;
    path.add("%d/stat", tid);
    const long fd =
        optional_syscall(kOpenat, SYS_openat, proc_fd, path.text(), O_RDONLY | O_CLOEXEC);
    if (is_error(proc_fd) || is_error(fd)) return ThreadState::kUnknown;
    char line[256];
    const long size = raw_read(static_cast<int>(fd), line, sizeof line);
    raw_close(static_cast<int>(fd));
    for (long i = size - 1; i > 1;
         i--)  // the name in parentheses may hold anything: from the right
        if (line[i - 1] == ')' && line[i] == ' ' && i + 1 < size)
            return line[i + 1] == 'S' || line[i + 1] == 'D' ? ThreadState::kSleeps
                                                            : ThreadState::kRuns;
    return ThreadState::kUnknown;
}

// The mapping keeps the event when its descriptor is closed.  -errno or the address.  A seccomp
// filter may kill for such a call instead of refusing it.
long open_ring(int tid) {
    if (raw_syscall(SYS_prctl, PR_GET_SECCOMP) > SECCOMP_MODE_DISABLED) return -EPERM;
    perf_event_attr event{};
    event.type = PERF_TYPE_SOFTWARE;
    event.size = sizeof event;
    event.config = PERF_COUNT_SW_DUMMY;
    event.context_switch = 1;
    event.exclude_kernel = 1;  // unprivileged users may
    event.exclude_hv = 1;
    const long fd = raw_syscall(SYS_perf_event_open, &event, tid, -1L, -1L, PERF_FLAG_FD_CLOEXEC);
    if (is_error(fd)) return fd;
    // Read-only: the kernel overwrites the oldest records and waits for nobody.
    const long memory_address =
        raw_mmap(nullptr, kRingBytes, PROT_READ, MAP_SHARED, static_cast<int>(fd), 0);
    raw_close(static_cast<int>(fd));
    return memory_address;
}

bool is_asked() {
    const uint32_t now = word.load(std::memory_order_acquire);
    return now == kAskedState || now == kAskedRing;
}

[[noreturn]] void helper_main(void* open_signal) {
    const uint64_t blocked = ~(uint64_t{1} << (reinterpret_cast<intptr_t>(open_signal) - 1));
    raw_sigprocmask(SIG_SETMASK, &blocked, nullptr);
    // The copy of the table would keep the program's files open.
    raw_syscall(SYS_close_range, 0u, ~0u, 0);
    proc_fd = optional_syscall(kOpenat, SYS_openat, AT_FDCWD, "/proc/self/task",
                               O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (;;) {
        while (!is_asked()) raw_futex_wait(address(), word.load(), nullptr);
        const int tid = asked_tid.load();
        answer.store(word.load() == kAskedRing ? open_ring(tid)
                                               : static_cast<long>(read_state(tid)));
        word.store(kAnswered, std::memory_order_release);
        raw_futex_wake(address(), 1);
    }
}

// The helper's answer; -ENOSYS without a helper.
long ask(uint32_t question, int tid, int open_signal) {
    if (!is_running) {
        if (memory.base == nullptr && !kernel_thread_memory_create(&memory, kStackBytes))
            return -ENOSYS;
        helper_tid.store(-1);
        if (kernel_thread_start(memory, helper_main, reinterpret_cast<void*>(intptr_t{open_signal}),
                                &helper_tid, false) != 0) {
            helper_tid.store(0);
            return -ENOSYS;
        }
        is_running = true;
    }
    asked_tid.store(tid);
    word.store(question, std::memory_order_release);
    raw_futex_wake(address(), 1);
    while (word.load(std::memory_order_acquire) != kAnswered)
        raw_futex_wait(address(), question, nullptr);
    return answer.load();
}

const volatile perf_event_mmap_page* control(const SwitchRing& ring) {
    return static_cast<const volatile perf_event_mmap_page*>(ring.memory);
}

}  // namespace

ThreadState kernel_thread_state(int tid, int open_signal) {
    const long state = ask(kAskedState, tid, open_signal);
    return is_error(state) ? ThreadState::kUnknown : static_cast<ThreadState>(state);
}

bool switch_ring_open(SwitchRing* ring, int tid, int open_signal) {
    if (ring->memory != nullptr) raw_munmap(ring->memory, kRingBytes);
    *ring = {};
    if (is_perf_refused) return false;
    const long opened = ask(kAskedRing, tid, open_signal);
    if (is_error(opened)) {
        // Not allowed, or not there: the next thread's is refused as well.
        is_perf_refused = opened == -EACCES || opened == -EPERM || opened == -ENOSYS ||
                          opened == -ENOENT || opened == -EINVAL || opened == -EOPNOTSUPP;
        return false;
    }
    ring->tid = tid;
    ring->memory = reinterpret_cast<void*>(opened);
    return true;
}

uint64_t switch_ring_position(const SwitchRing& ring) {
    const uint64_t position = control(ring)->data_head;
    std::atomic_thread_fence(std::memory_order_acquire);
    return position;
}

bool switch_ring_is_asleep(const SwitchRing& ring, uint64_t position) {
    // Records of this event are bare headers: eight bytes each, and nothing else is recorded.
    if (position < sizeof(perf_event_header)) return false;
    const auto* records = static_cast<const volatile char*>(ring.memory) + kPage;
    const auto* last = reinterpret_cast<const volatile perf_event_header*>(
        records + (position - sizeof(perf_event_header)) % kPage);
    const uint32_t type = last->type;
    const uint16_t what = last->misc;
    std::atomic_thread_fence(std::memory_order_acquire);
    return type == PERF_RECORD_SWITCH && (what & PERF_RECORD_MISC_SWITCH_OUT) != 0 &&
           (what & PERF_RECORD_MISC_SWITCH_OUT_PREEMPT) == 0 &&
           control(ring)->data_head == position;
}

int thread_state_helper() { return helper_tid.load(); }

void thread_state_after_fork() {
    is_running = false;
    helper_tid.store(0);
    word.store(kIdle);
}

}  // namespace pfiber::host
