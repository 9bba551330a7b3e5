// See kernel_thread.h.
#include "scheduler/host/kernel_thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "scheduler/host/identity.h"
#include "scheduler/host/syscall.h"

extern "C" long pfiber_clone(unsigned long flags, uintptr_t stack_top, void* parent_tid,
                             void* child_tid, uintptr_t tp, void (*entry)(void*), void* argument);

namespace pfiber::host {

namespace {
constexpr size_t kPage = 4096;
}

bool kernel_thread_memory_create(KernelThreadMemory* memory, size_t stack_size) {
    const IdentityLayout& layout = identity_layout;
    const size_t block = layout.static_tls_size + layout.pthread_size + 2 * layout.alignment;
    memory->size = ((stack_size + block + kPage - 1) & ~(kPage - 1)) + kPage;
    long base = raw_mmap(nullptr, memory->size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (is_error(base)) return false;
    memory->base = reinterpret_cast<void*>(base);
    raw_mprotect(memory->base, kPage, PROT_NONE);
    const uintptr_t end = static_cast<uintptr_t>(base) + memory->size;
    memory->tp = (end - layout.pthread_size) & ~(layout.alignment - 1);
    memory->stack_top = (memory->tp - layout.static_tls_size) & ~uintptr_t{63};
    identity_create_bare(memory->tp);
    return true;
}

void kernel_thread_memory_destroy(KernelThreadMemory* memory) {
    raw_munmap(memory->base, memory->size);
    memory->base = nullptr;
}

int kernel_thread_start(const KernelThreadMemory& memory, void (*entry)(void*), void* argument,
                        std::atomic<int>* tid, bool shares_descriptors) {
    const unsigned long flags = CLONE_VM | CLONE_FS | (shares_descriptors ? CLONE_FILES : 0) |
                                CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                                CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    // The child inherits a full mask and keeps it until its loop installs the process's.
    const uint64_t all = ~uint64_t{0};
    uint64_t old = 0;
    raw_sigprocmask(SIG_SETMASK, &all, &old);
    const long rc = pfiber_clone(flags, memory.stack_top, tid, tid, memory.tp, entry, argument);
    raw_sigprocmask(SIG_SETMASK, &old, nullptr);
    return rc < 0 ? static_cast<int>(rc) : 0;
}

void kernel_thread_exit() {
    for (;;) raw_syscall(SYS_exit, 0);
}

}  // namespace pfiber::host
