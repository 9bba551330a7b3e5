// Processor (Go: P): the right to run fibers; one of GOMAXPROCS.
// Worker (Go: M): a kernel thread of the runtime.
//
// A worker runs program code only while it has a processor (W1), except a fiber whose processor was
// retaken while it blocked where no hook saw it: that one must get a processor at its next hook.
// A processor belongs to one worker, to the idle list, or to a worker's call from which the monitor
// may take it by compare-and-swap of the status (W2).
#pragma once

#include "scheduler/fiber.h"
#include "scheduler/host/kernel_thread.h"
#include "scheduler/host/signal.h"
#include "scheduler/host/thread_state.h"
#include "scheduler/lock.h"
#include "scheduler/poller.h"
#include "scheduler/run_queue.h"
#include "scheduler/timer_heap.h"

namespace pfiber {

struct TimerMemory : Platform {  // heap storage by mmap: never malloc under a lock
    static void* resize(void* old, size_t old_bytes, size_t new_bytes);
};

struct alignas(64) Processor {
    int id = 0;
    Platform::Atomic<ProcessorStatus> status{ProcessorStatus::kIdle};
    Platform::Atomic<uint32_t> schedule_tick{0};  // fibers started, inherited slices not counted
    Platform::Atomic<uint32_t> call_tick{0};
    Platform::Atomic<uint32_t> look_around{0};  // leave the fast path: kLookForAll, kLookForEvents
    Platform::Atomic<int64_t> now_ns{0};        // of the last look around: a coarse clock
    uint32_t io_streak_tick = 0;  // the slice in which calls succeed without a park, and how much
    uint32_t io_streak = 0;       // of their turn they used (io_took_turn)
    int64_t gave_way_ns = 0;      // let_woken_run()
    int32_t yields_left = 1;      // until a yield looks at the clock again, and how many that was
    int32_t yields_between = 1;   // last
    int64_t yield_clock_ns = 0;   // of that look
    int64_t look_after = 0;  // place in the global queue that the next look at the poller waits for
    Worker* worker = nullptr;
    Processor* idle_next = nullptr;
    Fiber* halted = nullptr;  // in program code while the world is stopped (C1); the stopper's
    RunQueue<Platform, Fiber> queue;
    Poller poller;

    alignas(64) Lock timer_lock;
    TimerHeap<TimerMemory, FiberTimer> timers;

    // The monitor's last observation.
    struct {
        uint32_t schedule_tick = 0, call_tick = 0;
        int64_t schedule_since_ns = 0, call_since_ns = 0, quiet_since_ns = 0;
        int64_t cpu_ns = 0, cpu_at_ns = 0;
        int64_t ask_after_ns = 0, ask_pause_ns = 0;  // whether its worker sleeps, of /proc
        int64_t asked_timer_ns = 0;                  // for which it was asked to look around
        uint64_t switches = 0;  // position in the worker's ring; 0: not asleep then
    } observed;
};

// What the stack that was just left still needs, done by whoever runs next on that worker.
enum class AfterSwitch : uint8_t {
    kNothing,      // a scheduler stack was left
    kPark,         // commit the park word; a wait that was claimed meanwhile runs on
    kYieldLocal,   // runnable again: tail of the processor's ring
    kYieldGlobal,  // runnable again: tail of the global queue (preempted, or no processor)
    kYieldNext,    // runnable again: the processor's next slot (the world stops)
    kYieldBehind,  // the same, behind the one that is there now
    kFinish,       // user code is over
};

// What an interrupted fiber's registers held (busy_wait.cc).
struct BusySample {
    bool is_taken = false;
    uint32_t tick = 0;   // schedule_tick: of which turn
    int64_t cpu_ns = 0;  // of the worker: code that did not run meanwhile stands still, too
    host::RegisterSample registers;
};

struct Worker {
    Fiber scheduler_fiber;  // first member: its context runs schedule_loop()
    int id = 0;
    std::atomic<int> tid{0};       // the kernel's; -1: not known yet, 0: its thread has ended
    std::atomic<int> last_tid{0};  // kept after the end: /proc shows the thread for a moment more
    Fiber* current = nullptr;
    Processor* processor = nullptr;
    Processor* next_processor = nullptr;  // handed over by whoever wakes this worker
    Processor* old_processor = nullptr;   // preferred on return from a call
    Fiber* previous = nullptr;
    AfterSwitch after = AfterSwitch::kNothing;
    bool is_spinning = false;
    bool is_leader = false;     // the process's first kernel thread: never ends
    bool must_end = false;      // its locked fiber finished: per-thread kernel state must not leak
    bool has_children = false;  // forked: its end would be their parent's (PR_SET_PDEATHSIG)
    Fiber* handed = nullptr;    // found on the fast path but to be run by the loop
    Fiber* locked_fiber = nullptr;
    int64_t wait_until_ns = kNever;  // of its locked fiber, when that runs beside the processors
    uint32_t random = 1;
    int watched = 0;  // processor whose progress is watched (help_stalled)
    uint32_t watched_tick = 0;
    int64_t watched_since_ns = 0;
    uint64_t kernel_mask = 0;                // what this kernel thread blocks
    uint64_t mask_generation = 0;            // of the process mask it was taken from
    std::atomic<uint32_t> masks_renewed{0};  // changes of its mask under way
    bool is_monitor = false;
    bool is_lent = false;  // the monitor's, while it runs fibers (rescue.cc)
    Platform::Atomic<uint32_t> wake_word{0};
    Worker *idle_next = nullptr, *idle_prev = nullptr;
    Worker* all_next = nullptr;
    bool is_idle = false;
    int64_t left_pollers_ns = 0;    // 0, or when it did, with work and all pollers unattended
    int64_t left_cpu_ns = -1;       // its CPU time then, where absences are long; else -1
    uintptr_t alternate_stack = 0;  // what the kernel has for this thread
    int cpu_timer = -1;
    uint32_t timer_tick = 0;     // schedule_tick at the last fire of the CPU timer
    int64_t ticked_cpu_ns = 0;   // its CPU time at the last tick of cpu_time.h
    int64_t slice_start_ns = 0;  // CPU time of the worker at the first fire that saw this tick
    host::SwitchRing switches;   // the monitor's
    int busy_timer = -1;
    BusySample busy_sample;
    uint32_t busy_turn = 0;  // schedule_tick of the last turn that was spent busy-waiting
    int64_t busy_turns = 0;  // and how many there were in a row
    host::KernelThreadMemory memory;
};

}  // namespace pfiber
