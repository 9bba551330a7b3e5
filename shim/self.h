// Who the caller is, as owners of locks are recorded: a fiber's tid, else the kernel's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "scheduler/fiber.h"
#include "scheduler/host/identity.h"

namespace pfiber::shim {

// Where libc keeps the tid in struct pthread; 0 until it was looked up, or when libc hides it.
extern size_t g_tid_offset;
uint32_t foreign_tid_slow();  // looks it up, or asks the kernel

// Any thread, any time.  A thread that is no fiber is asked through its libc block, which also a
// child of fork finds up to date.
inline uint32_t self_tid() {
    const Fiber* fiber = current_fiber();
    if (__builtin_expect(fiber != nullptr, 1)) return fiber->tid;
    if (__builtin_expect(g_tid_offset != 0, 1))
        return *reinterpret_cast<const uint32_t*>(host::thread_pointer() + g_tid_offset);
    return foreign_tid_slow();
}

}  // namespace pfiber::shim
