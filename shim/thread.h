// What a pthread is on a fiber: its record, its start, its end, joining and detaching.
//
// The record stands in Fiber::client, so it lives as long as the fiber's block: until the thread is
// joined, or ends detached.  pthread_t is the fiber's thread pointer, as glibc's is.
//
// Life word (invariant S1): a thread's block is recycled exactly once, by whoever sees "finished"
// and "nobody else will" in one atomic operation: the joiner, pthread_detach after the end, or the
// end of a detached thread.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <cstddef>
#include <cstdint>

#include "scheduler/fiber.h"
#include "scheduler/host/identity.h"
#include "shim/interrupt.h"

namespace pfiber::shim {

struct PendingSignal;
struct StateRequest;

struct Thread {
    // Looked at by every call that may wait: in one line.
    Platform::Atomic<uint32_t> cancel{0};  // cancel.cc
    InterruptMark interrupts;              // signal_entry.cc

    // ---- life
    void* (*start)(void*) = nullptr;
    void* argument = nullptr;
    void* result = nullptr;
    Platform::Atomic<uint32_t> life{0};
    bool is_c11 = false;     // start returns int
    bool is_ending = false;  // destructors and clean-up run: no cancellation any more
    char name[16] = {};
    int32_t kernel_thread_locks = 0;  // pfiber_lockosthread, nested

    // ---- attributes, as pthread_getattr_np tells them
    uintptr_t stack_address = 0;
    size_t stack_size = 0, guard_size = 0;
    int policy = 0, priority = 0;
    int raised_to = 0;                 // by mutexes with priority protection
    bool has_explicit_policy = false;  // from its attributes, not its creator
    bool has_kernel_state = false;     // bound for good (kernel_state.h)
    StateRequest* wanted = nullptr;    // noted by others; under that file's lock

    // ---- signals (signal.cc)
    uint64_t mask = 0;                          // blocked by this thread
    Platform::Atomic<uint64_t> pending{0};      // directed at it and not delivered
    PendingSignal* queued = nullptr;            // those, by number (signal_queue.cc)
    Platform::Atomic<uint64_t> waiting_for{0};  // its sigwait set
    uint64_t suspend_restore = 0;               // mask to restore after sigsuspend-like calls
    uint64_t mask_outside = 0;                  // what the outermost handler interrupted
    int32_t handlers_active = 0;                // too high after a jump that restored no mask
    bool has_suspend_restore = false;
    bool takes_no_signals = false;  // it has ended; written under the queue's lock
    siginfo_t raised_on_return;  // the fiber's raised_info while the kernel is about to deliver it
    bool is_delivering = false;  // deliver_pending() is between two handlers
    bool deliver_again = false;  // and something came for it on top
};
static_assert(sizeof(Thread) <= Fiber::kClientBytes, "raise Fiber::kClientBytes");

// Notes what the kernel was told; the fiber's place among waiters follows.
void thread_set_policy(Fiber* fiber, int policy, int priority);
// What the kernel is to have for a thread with that priority of its own.
inline int raised_priority(const Thread* thread, int priority) {
    return thread->raised_to > priority ? thread->raised_to : priority;
}

inline Thread* thread_of(Fiber* fiber) { return reinterpret_cast<Thread*>(fiber->client); }
inline const Thread* thread_of(const Fiber* fiber) {
    return reinterpret_cast<const Thread*>(fiber->client);
}
// The fiber behind a pthread_t; null for a thread that is no fiber, and for 0, which was never set:
// libc's own functions say ESRCH to that.
inline Fiber* fiber_of(pthread_t thread) {
    return thread == 0 ? nullptr : *host::tls_at(thread, &t_owner);
}
inline pthread_t handle_of(const Fiber* fiber) { return fiber->tp; }

// Whose CPU clock it is, by the form of a thread's clock id (clock_getres(2)); null: nobody's.
Fiber* fiber_of_clock(clockid_t clock);

// Results are 0 or an error number as POSIX names them.
int thread_create(pthread_t* out, const pthread_attr_t* attributes, void* (*start)(void*),
                  void* argument, bool is_c11);
// Any thread, outside the runtime.  `deadline_ns` of the monotonic clock, kNever: none (ETIMEDOUT).
int thread_join(Fiber* fiber, void** result, int64_t deadline_ns, bool is_cancellation_point);
int thread_try_join(Fiber* fiber, void** result);  // EBUSY
int thread_detach(Fiber* fiber);
bool thread_is_detached(const Thread* thread);
// Runs clean-up handlers and destructors of frames, then ends the thread.
[[noreturn]] void thread_exit(void* result);

// The program's main, in a frame at which pthread_exit in the main thread ends.
int run_main(int (*main)(int, char**, char**), int argc, char** argv, char** envp);

// Called once by the start of the runtime, on the main thread.
void threads_start(Fiber* main);
// True: it forked in a signal handler, so that calls of ours may stand below it.
bool threads_after_fork(Fiber* survivor);
const char* thread_name(const void* client);  // for the dump
// Cut off at 15 bytes.  The kernel shows it where the process is known by its first thread's name,
// and of a bound fiber.
void set_thread_name(Fiber* fiber, const char* name);

}  // namespace pfiber::shim
