// See stack.h.
#include "scheduler/host/stack.h"

#include <errno.h>
#include <sys/mman.h>

#include <atomic>

#include "scheduler/host/report.h"
#include "scheduler/host/syscall.h"

namespace pfiber::host {

namespace {

constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL, Linux 6.13
constexpr size_t kSlabSlots = 64;
constexpr size_t kClasses = 64;

struct SlabClass {
    size_t slot_size = 0;
    uintptr_t next = 0;  // first unused slot of the newest slab
    uintptr_t end = 0;
};

SlabClass classes[kClasses];
std::atomic_flag lock = ATOMIC_FLAG_INIT;
std::atomic<bool> guard_install_missing{false};
std::atomic<const char*> last_limit{"none"};
std::atomic<bool> guard_refused{false};

void acquire() {
    while (lock.test_and_set(std::memory_order_acquire)) __builtin_ia32_pause();
}
void release() { lock.clear(std::memory_order_release); }

long map(size_t size) {
    const long base = raw_mmap(nullptr, size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (!is_error(base)) raw_madvise(reinterpret_cast<void*>(base), size, MADV_NOHUGEPAGE);
    return base;
}

SlabClass* class_of(size_t size) {
    for (SlabClass& slab : classes) {
        if (slab.slot_size == size) return &slab;
        if (slab.slot_size == 0) {
            slab.slot_size = size;
            return &slab;
        }
    }
    return nullptr;  // more sizes than classes: single slots
}

bool install_guard(uintptr_t base, size_t guard) {
    if (guard == 0) return true;
    auto* address = reinterpret_cast<void*>(base);
    if (!guard_install_missing.load(std::memory_order_relaxed)) {
        const long rc = raw_madvise(address, guard, kGuardInstall);
        if (rc == 0) return true;
        if (rc == -EINVAL) guard_install_missing.store(true, std::memory_order_relaxed);
    }
    return raw_mprotect(address, guard, PROT_NONE) == 0;
}

}  // namespace

bool stack_slot_map(size_t size, size_t guard, StackSlot* slot) {
    acquire();
    SlabClass* slab = class_of(size);
    uintptr_t base = 0;
    constexpr size_t kMostSlab = size_t{1} << 36;
    if (slab != nullptr && slab->next == slab->end && size <= kMostSlab / kSlabSlots) {
        const long mapped = map(size * kSlabSlots);
        if (!is_error(mapped)) {
            slab->next = static_cast<uintptr_t>(mapped);
            slab->end = slab->next + size * kSlabSlots;
        }
    }
    if (slab != nullptr && slab->next != slab->end) {
        base = slab->next;
        slab->next += size;
    }
    release();
    if (base == 0) {
        const long mapped = map(size);
        if (is_error(mapped)) {
            last_limit.store("address space or memory (RLIMIT_AS, overcommit, vm.max_map_count)");
            return false;
        }
        base = static_cast<uintptr_t>(mapped);
    }
    if (!install_guard(base, guard)) {
        // The slot stays mapped and unused; without a guard an overflow would corrupt a neighbour.
        last_limit.store("vm.max_map_count (a guard page splits a mapping)");
        warn_once(guard_refused, "no guard page for a stack of %zu KiB: %s; thread not created",
                  size / 1024, "vm.max_map_count reached");
        return false;
    }
    *slot = {base, size, guard};
    return true;
}

void stack_release_pages(uintptr_t low, uintptr_t high) {
    if (high > low) raw_madvise(reinterpret_cast<void*>(low), high - low, MADV_DONTNEED);
}

const char* stack_last_limit() { return last_limit.load(); }

void stack_reset_after_fork() {
    // Held at the fork: a slab may be half entered, so its rest is given up.
    if (lock.test_and_set())
        for (SlabClass& slab : classes) slab.next = slab.end = 0;
    lock.clear();
}

}  // namespace pfiber::host
