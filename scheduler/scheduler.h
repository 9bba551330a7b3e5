// What the files of the scheduler share with each other: the one global structure and the protocol
// functions that are not for the layers above.
#pragma once

#include "scheduler/global_queue.h"
#include "scheduler/processor.h"
#include "scheduler/runtime.h"
#include "scheduler/wake_words.h"
#include "scheduler/world_words.h"

namespace pfiber {

constexpr int kMaxProcessors = 1024;
constexpr uint32_t kFairnessTick = 61;  // Go's: global queue and poller are looked at this often

// Processor::look_around: timers are due, the world stops; or somebody gave up the rest of a turn.
constexpr uint32_t kLookForAll = 1, kLookForEvents = 2;
// Who gives the rest of a turn up lets events be looked for when this has passed since the last
// look: 0.6 % of the CPU at most (a look costs 0.3 us), and 61 turns may be long ones.
constexpr int64_t kYieldLookNs = 50000;

// How long a thief leaves a next slot to its processor; and the kernel's timer slack, 50 µs.
constexpr int64_t kThiefRestNs = 3000;

// Until then the monitor has looked at the pollers (absence_ns).
constexpr int64_t kLongestAbsenceNs = 10000000;

using FiberList = GlobalQueue<Platform, Fiber>;

// All runtime state of the process; the fork child builds it anew and trusts no inherited lock.
struct Scheduler : WakeWords<Platform>, WorldWords<Platform> {
    Lock lock;  // global queue, idle processors, idle workers
    FiberList global;
    Processor* idle_processors = nullptr;
    Worker* idle_workers = nullptr;
    Platform::Atomic<int32_t> idle_worker_count{0};
    std::atomic<int32_t> processor_count{0};  // changed while the world is stopped only
    std::atomic<int32_t> made_count{0};       // processors that exist, removed ones included
    Processor* processors[kMaxProcessors] = {};
    Platform::Atomic<Worker*> workers{nullptr};        // every worker ever made, newest first
    Platform::Atomic<int32_t> worker_count{0};         // alive
    std::atomic<int32_t> dead_workers{0};              // their threads may not be gone yet
    Platform::Atomic<int64_t> sleeper_deadline_ns{0};  // 0: nobody sleeps in the pollers
    // The earliest timer that the monitor's present sleep takes into account; it is rung for an
    // earlier one of a processor that runs on (T1).
    Platform::Atomic<int64_t> monitor_covers_ns{INT64_MIN};
    // How long the pollers were left alone lately: who leaves them works for so long at most, or
    // more if the program changes its ways.  At first the longest that counts.  A guess: a lost
    // update does no harm.
    Platform::Atomic<int64_t> absence_ns{kLongestAbsenceNs};
    Platform::Atomic<uint32_t> pollers_left{0};  // the monitor is to wake somebody to sleep there
    // When the monitor's present sleep ends; kNever while it decides that.
    Platform::Atomic<int64_t> monitor_looks_ns{kNever};
    Platform::Atomic<uint32_t> requests{0};        // MonitorRequest bits
    Platform::Atomic<uint32_t> thread_refused{0};  // the monitor is to try to start a worker again

    Lock world_lock;  // one stopper at a time, who has no processor; before all others

    Lock registry_lock;
    Fiber registry;  // head of the ring all_next/all_prev
    Platform::Atomic<int64_t> live{0};
    Platform::Atomic<uint64_t> next_id{2};  // 1 is main
};
extern Scheduler g_scheduler;

// schedule.cc.  On the worker, in the runtime.
[[noreturn]] void schedule_loop(Worker* worker);
void switch_to(Worker* worker, Fiber* from, Fiber* to, AfterSwitch after);
void finish_switch(Worker* worker);
void leave_fiber(Fiber* fiber, AfterSwitch after);  // returns when it runs again

// fiber.cc, descriptor_table.cc: what a fork child may not trust
void fiber_pool_after_fork(Fiber* survivor);
void descriptors_after_fork();

// idle.cc
void wake_worker();                                      // Go: wakep
void start_worker(Processor* processor, bool spinning);  // Go: startm
void stop_worker(Worker* worker);                        // Go: stopm
void hand_off(Processor* processor);                     // Go: handoffp
void start_locked_worker(Worker* worker, Fiber* fiber);  // Go: startlockedm
void stop_locked_worker(Worker* worker);                 // Go: stoplockedm
void give_to_locked_worker(Worker* worker, Fiber* fiber);
void start_beside(Fiber* fiber);          // runnable, and runs beside the processors
bool start_bound_worker(Worker* worker);  // with its locked fiber set
void dismiss_bound_worker(Worker* worker);
Processor* take_idle_processor();                              // scheduler lock held (Go: pidleget)
void put_idle_processor(Processor* processor);                 // scheduler lock held (Go: pidleput)
void acquire_processor(Worker* worker, Processor* processor);  // off every list, nobody's
Processor* release_processor(Worker* worker);                  // its status is left as it is
Worker* create_worker();  // its record only, no kernel thread yet; null: no memory
void discard_worker(Worker* worker);
void reset_spinning(Worker* worker);  // Go: resetspinning
[[noreturn]] void end_worker(Worker* worker);

// find.cc
Fiber* find_runnable(Worker* worker);
void global_put(Fiber* fiber);
void global_put_list(Fiber* first);  // linked by queue_next; what did not fit into a ring
bool join_spilled(Fiber* fiber);     // a yielder of the caller's processor
int32_t ring_room(const Processor* processor);        // how many it may be given at once; its owner
Fiber* global_take(Processor* processor, int limit);  // scheduler lock held
void spill(Fiber** batch, uint32_t count);            // from a full ring to the global queue

// timers.cc
void timer_arm(Fiber* fiber, int64_t deadline_ns);
void timer_disarm(Fiber* fiber);
void timer_forget(Fiber* fiber);                            // before the fiber's block is reused
Fiber* take_expired(Processor* processor, int64_t now_ns);  // a list by queue_next, earliest first
bool run_timers(Processor* processor, int64_t now_ns);  // makes them ready; false: there were none
// In a stopped world: room for `more` timers; then those of one heap into another.
bool timers_reserve(Processor* processor, size_t more);
void timers_move(Processor* from, Processor* to);
int64_t earliest_timer_ns();  // over all processors

// rescue.cc: on the monitor.  True when fibers ran on it.
bool rescue(Worker* monitor, int64_t now);
void rescue_prepare(const Worker* monitor);  // at the start, before a filter may forbid it
bool rescue_tick(Fiber* fiber);  // in the preemption handler; true: it was asked to give way

// monitor.cc
bool monitor_start();
void barrier_on_every_thread();  // each thread's stores are seen, and it sees ours
void wake_monitor();
void tell_monitor_of_timer(int64_t deadline_ns);

// world.cc
void update_processor_count();  // the monitor: follows affinity and cgroup limit

// preempt.cc
bool preempt_install();
void preempt_uninstall();                     // a start that did not succeed; on the first worker
void preempt_worker_started(Worker* worker);  // on that worker
void preempt_worker_ending(Worker* worker);

// busy_wait.cc.  In the preemption handler or the runtime, on that worker.
constexpr int kBusyTimerMark = 1;  // sigval of its timer
// A CPU timer saw the fiber use up half its slice; looks again soon.
void busy_wait_suspect(Worker* worker, const void* context);
// At its timer: whether the fiber busy-waits while others are queued and is to give way.
bool busy_wait_look(Fiber* fiber, const void* context);
void busy_wait_dispatched(Worker* worker, const Fiber* fiber);  // a known one is about to run
void busy_wait_worker_started(Worker* worker);
void busy_wait_worker_ending(Worker* worker);

inline Worker* worker_of_thread() { return t_current->worker; }

}  // namespace pfiber
