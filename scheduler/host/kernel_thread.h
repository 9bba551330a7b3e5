// Kernel threads of the runtime, by raw clone: glibc does not know them, so its fork child, set*id
// broadcast and thread count do not see them either, and their end runs no libc code.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace pfiber::host {

// A kernel thread's memory: scheduler stack with a bare identity block at its top.
struct KernelThreadMemory {
    void* base = nullptr;
    size_t size = 0;
    uintptr_t stack_top = 0;  // 16-byte aligned
    uintptr_t tp = 0;         // thread pointer of its bare block
};

// `stack_size` bytes, rounded up to pages; a guard page below.  False: no memory.
bool kernel_thread_memory_create(KernelThreadMemory* memory, size_t stack_size);
void kernel_thread_memory_destroy(KernelThreadMemory* memory);

// Runs entry(argument) on a new kernel thread that has every signal blocked.  The entry never
// returns; it calls kernel_thread_exit().  *tid holds the kernel's tid from before this returns
// until the thread has left its stack (the kernel clears it and wakes a futex there).
// Returns 0 or a negative errno (-EAGAIN at a limit).
int kernel_thread_start(const KernelThreadMemory& memory, void (*entry)(void*), void* argument,
                        std::atomic<int>* tid, bool shares_descriptors = true);

[[noreturn]] void kernel_thread_exit();

}  // namespace pfiber::host
