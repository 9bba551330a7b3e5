// The scheduler's face to the layers above: start, spawn, park, ready, yield, blocking regions.
//
// "On a fiber" means: current_fiber() is not null and not a scheduler fiber.  "In the runtime"
// means between RuntimeSection's constructor and destructor: no preemption, program signal handlers
// are deferred, no malloc, no user code.
#pragma once

#include <signal.h>

#include "scheduler/fiber.h"
#include "scheduler/host/signal.h"
#include "scheduler/poller.h"

namespace pfiber {

struct RuntimeCallbacks {
    // Runs on a fiber that leaves the runtime with kAttendSignal, kAttendCancel or kAttendState
    // set; for the last also in the preemption handler.
    void (*attend)(Fiber*, uint32_t attention) = nullptr;
    // The same inside a call of a fiber with attends_in_call, in a handler above `context`.
    void (*attend_in_call)(Fiber*, void* context) = nullptr;
    // In the preemption handler, everything blocked: true when a signal is pending in the kernel
    // that comes when that handler returns to `context`.
    bool (*raise_on_return)(Fiber*, const void* context) = nullptr;
    // A fiber finished and its stack is left; on any stack, in the runtime.  Decides on recycling.
    void (*finished)(Fiber*) = nullptr;
    // A worker is about to run program code or to sleep in the pollers; installs the process's
    // signal mask.
    void (*worker_mask)(Worker*) = nullptr;
    // A worker woke up in the pollers: signals that came before the events are passed on first.
    void (*pass_on_signals)() = nullptr;
    // Every kick of a kernel thread, first thing in the handler, any context.
    void (*kicked)(void* context) = nullptr;
    // The preemption signal's number was used by somebody else.  In a handler, outside the runtime.
    void (*foreign_signal)(int, siginfo_t*, void*) = nullptr;
    // The monitor's thread serves what a signal handler could not do where it ran.  Returns what is
    // to be served at its next round, which need not come soon.
    uint32_t (*serve)(uint32_t requests) = nullptr;
};
extern RuntimeCallbacks runtime_callbacks;

// Bits of request_monitor().
enum MonitorRequest : uint32_t {
    kServeSignals = 1,      // signals landed in the runtime
    kServeDump = 2,         // somebody asked for a list of the fibers
    kServeQuit = 4,         // SIGQUIT at its default disposition
    kServeCredentials = 8,  // set*id: the monitor's thread takes part
};
// Lock-free; also in a signal handler in the runtime.
void request_monitor(uint32_t requests);

// What the program had installed for the preemption signal's number before the start.
extern host::KernelSigaction preempt_displaced_action;

// ---- start

// First pthread_create: the calling thread becomes the main fiber and its kernel thread a worker.
// False (reason says why): this process stays native.  Single-threaded callers only.
bool runtime_start(const char** reason);
inline bool g_runtime_started = false;
inline long g_start_error = 0;  // of the system call that stopped runtime_start(); 0: none did
Fiber* main_fiber();            // null before the first start

// Called in the child of fork on the fiber that forked: forgets every other fiber and worker; the
// fiber becomes the main fiber of a process in which the runtime is not started.
void runtime_after_fork(Fiber* survivor);

// ---- entering and leaving the runtime

// For RuntimeSection and the preemption handler: somebody claimed the fiber's processor or took it,
// with the depth at 1; the attention word is not empty, with the depth at 0.
void runtime_entry_slow(Fiber* fiber);
void runtime_leave_slow(Fiber* fiber);
// Until nobody claims the fiber's processor any more: the monitor decides within a few
// microseconds, a stopper keeps its claim until the world starts.  Whoever raises the depth without
// entering calls it before anything that a processor's owner may do.  Does not switch.
void wait_for_claim(Fiber* fiber);

class RuntimeSection {
  public:
    explicit RuntimeSection(Fiber* fiber) : fiber_(fiber) { enter(fiber); }
    // Leaving runs handlers and acts on asynchronous cancellation, which unwinds.
    ~RuntimeSection() noexcept(false) { leave(fiber_); }
    RuntimeSection(const RuntimeSection&) = delete;
    RuntimeSection& operator=(const RuntimeSection&) = delete;

    static void enter(Fiber* fiber) {
        constexpr uint32_t kLost = kAttendClaim | kAttendRetaken | kAttendStop;
        if (__builtin_expect(raise_depth(fiber, kLost), 0) && fiber->depth == 1)
            runtime_entry_slow(fiber);
    }
    static void leave(Fiber* fiber) {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if (--fiber->depth == 0 &&
            __builtin_expect(fiber->attention.load(std::memory_order_relaxed) != 0, 0))
            runtime_leave_slow(fiber);
    }

  private:
    Fiber* fiber_;
};

// The same on a thread that may be no fiber.
class OptionalSection {
  public:
    OptionalSection() : fiber_(current_fiber()) {
        if (fiber_ != nullptr) RuntimeSection::enter(fiber_);
    }
    ~OptionalSection() noexcept(false) {
        if (fiber_ != nullptr) RuntimeSection::leave(fiber_);
    }
    OptionalSection(const OptionalSection&) = delete;
    OptionalSection& operator=(const OptionalSection&) = delete;

  private:
    Fiber* fiber_;
};

// Cheap cooperative point for hooks that otherwise touch no runtime state.
inline void check_attention(Fiber* fiber) {
    if (__builtin_expect(fiber->attention.load(std::memory_order_relaxed) != 0, 0) &&
        fiber->depth == 0)
        runtime_leave_slow(fiber);
}

// ---- fibers

// A fresh or recycled fiber with `stack_size` usable bytes and `guard_size` below, or on the
// caller's memory [user_low, user_low + stack_size) when user_low is not 0.  Not in the runtime
// (may call calloc).  Null: no memory.
Fiber* fiber_create(size_t stack_size, size_t guard_size, uintptr_t user_low);
// Makes it runnable; on a fiber or a foreign thread.
void fiber_spawn(Fiber* fiber, FiberEntry entry);
// Ends the calling fiber.  In the runtime; every resource of the layers above is gone already.
[[noreturn]] void fiber_finish(Fiber* fiber);
// Gives a finished (or never spawned) fiber's block back to the pool.
void fiber_recycle(Fiber* fiber);  // any thread
// In the runtime or in a call.  The worker of this fiber, the caller, makes a child process now and
// stays as long as the process does: the kernel tells children of the end of the thread that made
// them.
void keep_worker(Fiber* fiber);

int64_t live_fibers();  // spawned and not finished, the main fiber included while it runs
// The live fiber with that id, or null.  Locks the registry.
Fiber* fiber_with_tid(uint32_t tid);
// Calls visit for each registered fiber with the registry locked.
void for_each_fiber(void (*visit)(Fiber*, void*), void* argument);

// ---- waiting and waking

// Parks the calling fiber in the wait that it opened with fiber->park.arm().  In the runtime.
Wake park(Fiber* fiber, WaitReason reason, int64_t deadline_ns = kNever);
// Ends a wait; true when this call decided it.  Anywhere but in a signal handler above the runtime.
bool wake(FiberRef who, Wake outcome, bool next = true);
// Puts a claimed, parked fiber on a queue: the next slot of the caller's processor, or its tail.
// Any thread; ready_list() takes a list linked by queue_next, in its order.
void ready(Fiber* fiber, bool next);
void ready_list(Fiber* first);
// Lets others run; Go: Gosched.  On a fiber, in the runtime.
void yield(Fiber* fiber);
// Who was just woken into the next slot runs now and the caller right after it, at most once in a
// millisecond: a fiber that takes a lock again at once would keep it for its whole slice (the
// kernel, too, lets the woken thread run).  `fiber`: the caller; null, or in the runtime: nothing.
void let_woken_run(Fiber* fiber);
// After fiber_spawn, the same for the new fiber where there is one processor: it would begin when
// its creator waits, which may be after what the creator then finds ready (a thread on one CPU
// begins within a slice of the kernel's, mostly at once).
void let_created_run(Fiber* creator);
// From the preemption handler, on the fiber's own stack.
void yield_preempted(Fiber* fiber);
// Whether the processor of `fiber`, the caller's, has anything else to run or to look at.
bool somebody_waits(Fiber* fiber);

// ---- blocking calls

// All three: on a fiber, outside the runtime.  Between them its handlers run.
//
// Around a call that may block: the monitor takes the processor when it lasts (Go: entersyscall).
void enter_call(Fiber* fiber);
// Around a call that will block: hands the processor off first (Go: entersyscallblock).
void enter_blocking_call(Fiber* fiber);
// False: the processor was not kept; perhaps it runs on with another one.
bool exit_call(Fiber* fiber);
// Adds up the calls of enter_call() for the statistics.  Any thread.
void count_calls();

// ---- binding to the kernel thread (Go: LockOSThread), nested

// On the fiber itself, outside the runtime.
void lock_to_worker(Fiber* fiber);
void unlock_from_worker(Fiber* fiber);
// The same, but never to the process's first kernel thread, whose state others take for that of the
// process (/proc/PID): from there a fiber other than main moves to a clone.  Holds no lock.
void lock_to_own_worker(Fiber* fiber);
// The fiber, which is bound, from now on runs without a processor, whenever the kernel lets its
// thread run; waits, too, are its kernel thread's own.  On the fiber itself, outside the runtime.
// The second makes it an ordinary bound fiber again, the third is for a new one, before
// fiber_spawn.
void run_beside(Fiber* fiber);
void run_on_processor(Fiber* fiber);
void begin_beside(Fiber* fiber);
int worker_tid(const Fiber* fiber);  // kernel tid of the worker that it is bound to or that runs it
// Before fiber_spawn, on a fiber or a foreign thread: `fiber` is bound to a kernel thread of its
// own, cloned from the caller's, whose namespaces, capabilities, affinity and so on it inherits.
// False: the kernel has no thread.  The second takes it back, also before fiber_spawn.
bool bind_to_new_worker(Fiber* fiber);
void unbind_from_new_worker(Fiber* fiber);
bool is_worker_tid(int tid);  // a kernel thread of the runtime, the monitor included
// A kernel thread that runs no fiber: it has what the process's threads have that changed nothing.
int template_tid();

// The program is about to give `fiber` an alternate signal stack of that many bytes at `low`, or
// none (0).  With one that is too small for it, or another live fiber's as well, the preemption
// handler runs on interrupted stacks from now on.
void alternate_stack_told(Fiber* fiber, uintptr_t low, size_t size);

// Interrupts the worker that runs `fiber` so that it looks at its attention word.  Any thread.
void kick(Fiber* fiber);

}  // namespace pfiber
