// Stack slots: [ guard | stack | room that the caller keeps at the top ].
//
// Slots of one size come from slabs: one mapping, reserved and not committed, never unmapped (what
// stands at a slot's top is type-stable, stale wakers may look at it).  The guard is installed by
// MADV_GUARD_INSTALL where the kernel has it (no VMA split), else by mprotect, two mappings each.
// The first slab is one slot, each later one at most as many as there are, 64 in the end; one again
// under mlockall(MCL_FUTURE) and where RLIMIT_AS or strict overcommit refuses more.  When one is
// refused the caller gets null and its program EAGAIN.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pfiber::host {

struct StackSlot {
    uintptr_t base = 0;  // lowest address, the guard's
    size_t size = 0;
    size_t guard = 0;
};

// Takes unused slots of `size` bytes (a multiple of the page size).  Locks; runtime or program.
bool stack_slot_map(size_t size, size_t guard, StackSlot* slot);

// Slots mapped from now on are executable: for programs with trampolines on their stacks.  At the
// start of the runtime.
void stack_make_executable();

// Gives back a slot that nobody used, for the next caller with this size.  It stays mapped.
void stack_slot_return(const StackSlot& slot);

// Gives the pages of [low, high) back to the kernel; the guard below stays.
void stack_release_pages(uintptr_t low, uintptr_t high);

// One line on the limit that stopped the last refused mapping, for messages.
const char* stack_last_limit();

void stack_reset_after_fork();

}  // namespace pfiber::host
