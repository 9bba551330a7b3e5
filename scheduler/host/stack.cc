// See stack.h.
#include "scheduler/host/stack.h"

#include <errno.h>
#include <sys/mman.h>

#include <atomic>

#include "scheduler/host/syscall.h"

namespace pfiber::host {

namespace {

constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL, Linux 6.13
constexpr int kGuardRemove = 103;
constexpr size_t kMostSlots = 64;  // of a slab
constexpr size_t kMostSlab = size_t{1} << 36;
constexpr size_t kClasses = 64;
constexpr size_t kPage = 4096;

struct SlabClass {
    size_t slot_size = 0;
    uintptr_t next = 0;  // first unused slot of the newest slab
    uintptr_t end = 0;
    size_t mapped = 0;     // slots so far: a new slab at most doubles them
    uintptr_t unused = 0;  // a slot that was given back: the next one that is taken
};

SlabClass classes[kClasses];
std::atomic_flag lock = ATOMIC_FLAG_INIT;
std::atomic<bool> guard_install_missing{false};
std::atomic<const char*> last_limit{"none"};

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

// mlockall(MCL_FUTURE) fills and locks every mapping as it is made: then only what the program
// asked for, stack by stack, as natively.  Locked memory cannot be given back; mincore would tell
// more, but is a call for which seccomp filters of services kill.
bool future_is_locked() {
    const long page =
        raw_mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (is_error(page)) return true;  // no memory to waste either
    const bool is_locked =
        raw_madvise(reinterpret_cast<void*>(page), kPage, MADV_DONTNEED) == -EINVAL;
    raw_munmap(reinterpret_cast<void*>(page), kPage);
    return is_locked;
}

// Room for slots, at most as much as there is already: under RLIMIT_AS and strict overcommit a
// program with few threads keeps its memory.
void add_slab(SlabClass* slab) {
    size_t slots = slab->mapped < 1 ? 1 : slab->mapped;
    if (slots > kMostSlots) slots = kMostSlots;
    if (slots > 1 && (slab->slot_size > kMostSlab / slots || future_is_locked())) slots = 1;
    long base = map(slab->slot_size * slots);
    if (is_error(base) && slots > 1) base = map(slab->slot_size * (slots = 1));
    if (is_error(base)) return;
    slab->next = static_cast<uintptr_t>(base);
    slab->end = slab->next + slab->slot_size * slots;
    slab->mapped += slots;
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
    if (slab != nullptr && slab->unused != 0) {
        base = slab->unused;
        slab->unused = 0;
    } else if (slab != nullptr) {
        if (slab->next == slab->end) add_slab(slab);
        if (slab->next != slab->end) {
            base = slab->next;
            slab->next += size;
        }
    }
    release();
    if (base == 0) {
        const long mapped = slab == nullptr ? map(size) : -ENOMEM;
        if (is_error(mapped)) {
            last_limit.store(
                "address space or memory: RLIMIT_AS, overcommit, vm.max_map_count or, with "
                "mlockall, RLIMIT_MEMLOCK");
            return false;
        }
        base = static_cast<uintptr_t>(mapped);
    }
    if (!install_guard(base, guard)) {
        // Without a guard an overflow would corrupt a neighbour.
        last_limit.store("its guard page was refused: vm.max_map_count");
        stack_slot_return({base, size, 0});
        return false;
    }
    *slot = {base, size, guard};
    return true;
}

void stack_slot_return(const StackSlot& slot) {
    auto* guard = reinterpret_cast<void*>(slot.base);
    if (slot.guard != 0 && raw_madvise(guard, slot.guard, kGuardRemove) != 0)
        raw_mprotect(guard, slot.guard, PROT_READ | PROT_WRITE);
    acquire();
    SlabClass* slab = class_of(slot.size);
    if (slab != nullptr && slab->unused == 0) slab->unused = slot.base;
    release();
}

void stack_release_pages(uintptr_t low, uintptr_t high) {
    if (high > low) raw_madvise(reinterpret_cast<void*>(low), high - low, MADV_DONTNEED);
}

const char* stack_last_limit() { return last_limit.load(); }

void stack_reset_after_fork() {
    // Held at the fork: a slab may be half entered, so its rest is given up.
    if (lock.test_and_set())
        for (SlabClass& slab : classes) slab.next = slab.end = slab.unused = 0;
    lock.clear();
}

}  // namespace pfiber::host
