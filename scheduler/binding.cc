// Binding a fiber to one kernel thread (Go: LockOSThread), so that what the kernel keeps for that
// thread belongs to the fiber.  The worker runs nothing else meanwhile and ends with the fiber when
// the fiber ends bound.  idle.cc has how a bound fiber gets a processor.
#include "scheduler/base/counters.h"
#include "scheduler/host/thread_state.h"
#include "scheduler/scheduler.h"

namespace pfiber {

void lock_to_worker(Fiber* fiber) {
    RuntimeSection section(fiber);
    if (fiber->lock_count > 0) {
        fiber->lock_count++;
        return;
    }
    // The monitor's thread serves everybody (rescue.cc).
    fiber->needs_worker = true;
    while (fiber->worker->is_lent) leave_fiber(fiber, AfterSwitch::kYieldGlobal);
    fiber->needs_worker = false;
    fiber->lock_count = 1;
    COUNT(locked);
    fiber->locked_worker = fiber->worker;
    fiber->worker->locked_fiber = fiber;
}

void unlock_from_worker(Fiber* fiber) {
    RuntimeSection section(fiber);
    if (fiber->lock_count == 0 || --fiber->lock_count > 0) return;
    fiber->worker->locked_fiber = nullptr;
    fiber->locked_worker = nullptr;
}

bool bind_to_new_worker(Fiber* fiber) {
    OptionalSection section;
    Worker* worker = create_worker();
    if (worker == nullptr) return false;
    worker->locked_fiber = fiber;
    fiber->locked_worker = worker;
    fiber->lock_count = 1;
    if (!start_bound_worker(worker)) {
        fiber->locked_worker = nullptr;
        fiber->lock_count = 0;
        worker->locked_fiber = nullptr;
        discard_worker(worker);
        return false;
    }
    COUNT(locked);
    return true;
}

void lock_to_own_worker(Fiber* fiber) {
    RuntimeSection section(fiber);
    if (fiber->worker->is_leader && fiber != main_fiber() && fiber->lock_count == 0 &&
        !fiber->in_call && bind_to_new_worker(fiber)) {
        leave_fiber(fiber, AfterSwitch::kYieldGlobal);  // comes back there
        return;
    }
    lock_to_worker(fiber);
}

void unbind_from_new_worker(Fiber* fiber) {
    OptionalSection section;
    Worker* worker = fiber->locked_worker;
    fiber->locked_worker = nullptr;
    fiber->lock_count = 0;
    dismiss_bound_worker(worker);
}

// The kernel schedules its thread as it would natively, at once and by priority: no queue orders it
// among others, nobody's slice delays it, and it delays nobody beyond what the kernel gives it.
void run_beside(Fiber* fiber) {
    RuntimeSection section(fiber);
    if (fiber->runs_beside || fiber->locked_worker == nullptr) return;
    fiber->runs_beside = true;
    COUNT(beside);
    if (fiber->worker->processor != nullptr) hand_off(release_processor(fiber->worker));
}

void begin_beside(Fiber* fiber) {
    fiber->runs_beside = true;
    COUNT(beside);
}

void run_on_processor(Fiber* fiber) {
    if (!fiber->runs_beside) return;
    const bool is_in_region = fiber->in_call;
    fiber->in_call = true;  // what it is: running without a processor, until the call is left
    std::atomic_signal_fence(std::memory_order_seq_cst);
    fiber->runs_beside = false;
    if (!is_in_region) exit_call(fiber);
}

void keep_worker(Fiber* fiber) { fiber->worker->has_children = true; }

int worker_tid(const Fiber* fiber) {
    const Worker* worker = fiber->locked_worker != nullptr ? fiber->locked_worker : fiber->worker;
    return worker == nullptr ? 0 : worker->tid.load(std::memory_order_relaxed);
}

bool is_worker_tid(int tid) {
    // A thread is in /proc before its creator knows the number.
    constexpr int kPatience = 1000;
    for (int look = 0; look < kPatience; look++) {
        const int helper = host::thread_state_helper();
        if (helper == tid) return true;
        bool is_one_starting = helper == -1;
        for (Worker* worker = g_scheduler.workers.load(); worker != nullptr;
             worker = worker->all_next) {
            const int known = worker->tid.load(std::memory_order_acquire);
            if (known == tid || worker->last_tid.load(std::memory_order_relaxed) == tid)
                return true;
            is_one_starting |= known == -1;
        }
        if (!is_one_starting) return false;
        host::raw_syscall(SYS_sched_yield);
    }
    return false;
}

}  // namespace pfiber
