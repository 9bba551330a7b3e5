// See thread_state.h.
#include "scheduler/host/thread_state.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>

#include <atomic>

#include "scheduler/host/kernel_thread.h"
#include "scheduler/host/report.h"
#include "scheduler/host/syscall.h"

namespace pfiber::host {

namespace {

constexpr size_t kStackBytes = 32 * 1024;
constexpr uint32_t kIdle = 0, kAsked = 1, kYes = 2, kNo = 3;

KernelThreadMemory memory;
std::atomic<int> helper_tid{0};
std::atomic<uint32_t> word{kIdle};
std::atomic<int> asked_tid{0};
bool is_running = false;

const volatile uint32_t* address() { return reinterpret_cast<const volatile uint32_t*>(&word); }

bool read_state(int tid) {
    Line path;
    path.add("/proc/self/task/%d/stat", tid);
    const long fd = raw_syscall(SYS_openat, AT_FDCWD, path.text(), O_RDONLY | O_CLOEXEC);
    if (is_error(fd)) return false;
    char line[256];
    const long size = raw_read(static_cast<int>(fd), line, sizeof line);
    raw_close(static_cast<int>(fd));
    for (long i = size - 1; i > 1;
         i--)  // the name in parentheses may hold anything: from the right
        if (line[i - 1] == ')' && line[i] == ' ' && i + 1 < size)
            return line[i + 1] == 'S' || line[i + 1] == 'D';
    return false;
}

[[noreturn]] void helper_main(void* open_signal) {
    const uint64_t blocked = ~(uint64_t{1} << (reinterpret_cast<intptr_t>(open_signal) - 1));
    raw_sigprocmask(SIG_SETMASK, &blocked, nullptr);
    // The copy of the table would keep the program's files open.
    raw_syscall(SYS_close_range, 0u, ~0u, 0);
    for (;;) {
        while (word.load(std::memory_order_acquire) != kAsked)
            raw_futex_wait(address(), word.load(), nullptr);
        word.store(read_state(asked_tid.load()) ? kYes : kNo, std::memory_order_release);
        raw_futex_wake(address(), 1);
    }
}

}  // namespace

bool is_asleep_in_kernel(int tid, int open_signal) {
    if (!is_running) {
        if (memory.base == nullptr && !kernel_thread_memory_create(&memory, kStackBytes))
            return false;
        helper_tid.store(-1);
        if (kernel_thread_start(memory, helper_main, reinterpret_cast<void*>(intptr_t{open_signal}),
                                &helper_tid, false) != 0) {
            helper_tid.store(0);
            return false;
        }
        is_running = true;
    }
    asked_tid.store(tid);
    word.store(kAsked, std::memory_order_release);
    raw_futex_wake(address(), 1);
    uint32_t answer;
    while ((answer = word.load(std::memory_order_acquire)) == kAsked)
        raw_futex_wait(address(), kAsked, nullptr);
    return answer == kYes;
}

int thread_state_helper() { return helper_tid.load(); }

void thread_state_after_fork() {
    is_running = false;
    helper_tid.store(0);
    word.store(kIdle);
}

}  // namespace pfiber::host
