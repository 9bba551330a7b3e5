// Fiber (Go: G): a thread of the program, with its own identity block and stack.
//
// Lives at the top of its stack slot, above its identity block, and is type-stable: slots are never
// unmapped, so a late waker may still look at a finished fiber's words and be turned away by the
// sequence number.  The main fiber is a static object.
#pragma once

#include <cstddef>
#include <cstdint>

#include "scheduler/claim.h"
#include "scheduler/host/context.h"
#include "scheduler/host/stack.h"
#include "scheduler/park_word.h"
#include "scheduler/platform.h"
#include "scheduler/timer_heap.h"

namespace pfiber {

struct Worker;
struct Fiber;

// Ids of fibers begin here: kernel.pid_max cannot be higher.  The main fiber's is the process id.
inline constexpr uint32_t kFirstFiberTid = 1u << 22;

// What a fiber is doing; for the dump and for checks.  The park word, not this, decides wake-ups.
enum class FiberState : uint8_t {
    kFree,      // in the pool, nobody's
    kNew,       // being made by its creator
    kRunnable,  // on exactly one queue, owned by that queue
    kRunning,   // on a worker that has a processor; the worker owns its stack
    kInCall,    // in a system call; its worker owns the stack, perhaps without a processor
    kParked,    // on no queue; waits for a claim of its park word
    kFinished,  // user code ended; the block stays until it is joined
};

// Why a fiber is parked.  Texts in fiber.cc; unique, never reused.
enum class WaitReason : uint8_t {
    kNone,
    kIo,
    kPoll,
    kSleep,
    kMutex,
    kCond,
    kRwlock,
    kBarrier,
    kSemaphore,
    kOnce,
    kFutex,
    kJoin,
    kSigwait,
    kPause,
    kAccept,
    kLibcLock,
    kForked,
};
const char* wait_reason_text(WaitReason reason);  // any thread

// A timed wait.  deadline_ns 0 = no wait is timed; the heap entry may be stale (timer_heap.h).
struct FiberTimer : TimerWords<Platform> {
    TimerLink link;
    Fiber* fiber = nullptr;
};

using FiberEntry = void (*)(Fiber*);

struct Fiber {
    // Touched on every switch.
    ParkWord<Platform> park;
    // > 0: in the runtime; written by this fiber and handlers on top of it only.
    int32_t depth = 0;
    Platform::Atomic<uint32_t> attention{0};
    Platform::Atomic<FiberState> state{FiberState::kFree};
    WaitReason wait_reason = WaitReason::kNone;
    bool is_scheduler = false;     // a worker's own stack (Go: g0)
    bool in_call = false;          // between enter_call and exit_call
    bool attends_in_call = false;  // signals and cancellation are attended to inside the call
    bool owes_turn = false;        // woke somebody who needs the lock that it holds (shim/cond.cc)
    Worker* worker = nullptr;      // valid while running or in a call
    host::Context context = nullptr;
    uintptr_t tp = 0;
    uintptr_t alternate_stack = 0;  // its sigaltstack; the worker that runs it has it installed
    Fiber* queue_next = nullptr;    // global queue, batches, pool

    // Colder.
    int32_t wait_priority = 0;  // of a real-time thread: among waiters it is woken first
    Worker* locked_worker = nullptr;
    bool needs_worker = false;  // it is about to be bound: not on the monitor's thread
    bool runs_beside = false;   // bound, and runs without a processor (binding.cc)
    int32_t lock_count = 0;
    uint64_t id = 0;
    uint32_t tid = 0;
    int32_t pinned = 0;                 // > 0: nothing moves it
    bool is_attending = false;          // the preemption handler's frame below looks again
    int noted_own_signal = 0;           // a call's own, landed in the runtime; 0: none
    const void* raised_info = nullptr;  // siginfo_t re-raised at our own kernel thread for it
    int32_t busy_wait_trust = 0;        // > 0: it was seen to busy-wait (busy_wait.cc)
    int64_t since_ns = 0;               // when the present state began (dump)
    FiberTimer timer;
    FiberEntry entry = nullptr;
    host::StackSlot slot;
    uint32_t listed = 0;  // in libc's list of threads since this fork (fiber_pool_after_fork)
    uintptr_t stack_low = 0, stack_top = 0;  // bounds of the stack that frames may use
    Fiber* all_next = nullptr;               // registry of live fibers
    Fiber* all_prev = nullptr;
    int last_processor = -1;
    int64_t cpu_ns = 0;         // cpu_time.h
    int64_t cpu_start_ns = -1;  // -1: does not run
    size_t alternate_stack_size = 0;
    int alternate_stack_flags = 0;
    std::atomic<uintptr_t> alternate_stack_told{0};  // set before the kernel has it (preempt.cc)

    // The layer above keeps its record of the thread here.
    static constexpr size_t kClientBytes = 312;
    alignas(16) unsigned char client[kClientBytes] = {};
};

// Who is to be woken, and for which of its waits.
struct FiberRef {
    Fiber* fiber = nullptr;
    uint32_t sequence = 0;
};

// The fiber whose identity block %fs points at: constant for the life of a fiber, null on threads
// that pfiber does not run (before the start, foreign threads).  On a worker's own stack it is that
// worker's scheduler fiber.
extern __thread Fiber* t_current __attribute__((tls_model("initial-exec")));

// The same, but never cleared while the fiber borrows its memory to a child (vfork, spawn): who
// owns this identity block, for others that look it up by pthread_t.
extern __thread Fiber* t_owner __attribute__((tls_model("initial-exec")));

// The calling fiber, or null for a thread that the kernel alone runs.
inline Fiber* current_fiber() { return t_current; }

}  // namespace pfiber
