// Thread attributes: reading a pthread_attr_t, and telling a running thread's.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <cstddef>
#include <cstdint>

namespace pfiber::shim {

struct Thread;

struct ThreadAttributes {
    size_t stack_size = 0, guard_size = 0;
    uintptr_t stack_address = 0;  // lowest address of the caller's stack, 0: ours
    bool is_detached = false;
    bool has_mask = false;
    bool has_policy = false;  // PTHREAD_EXPLICIT_SCHED: the two below, else the creator's
    int policy = 0, priority = 0;
    uint64_t mask = 0;
    static constexpr size_t kMostMaskBytes = 1024;
    size_t mask_bytes = 0;  // of the CPU mask; 0: none
    unsigned char cpu_mask[kMostMaskBytes];
};

// Null attributes mean the defaults.  EINVAL as pthread_create gives it.
int read_attributes(const pthread_attr_t* attributes, ThreadAttributes* out);

// Name and nominal stack of the main thread, when it becomes a fiber.
void thread_attributes_of_main(Thread* thread);

// pthread_getattr_np for a fiber.
int tell_attributes(const Thread* thread, bool is_detached, pthread_attr_t* out);

}  // namespace pfiber::shim
