// Idle processors and workers: who is woken, who sleeps, who gets which processor.
// Go: startm, stopm, wakep, handoffp, pidleget, pidleput, stoplockedm, startlockedm.
//
// Locked fibers: the worker runs nothing else; when the fiber parks it hands its processor off and
// sleeps; whoever picks the fiber up passes its own processor over and sleeps instead.
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include <new>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/identity.h"
#include "scheduler/host/report.h"
#include "scheduler/scheduler.h"

namespace pfiber {

namespace {

constexpr size_t kSchedulerStackBytes = 64 * 1024;
std::atomic<bool> reported_thread_limit{false};
std::atomic<int> next_worker_id{1};

void worker_entry(void* argument) {
    auto* worker = static_cast<Worker*>(argument);
    worker->last_tid.store(worker->tid.load(), std::memory_order_relaxed);
    t_current = &worker->scheduler_fiber;
    preempt_worker_started(worker);
    if (runtime_callbacks.worker_mask != nullptr) runtime_callbacks.worker_mask(worker);
    // One that was made for a bound fiber gets its processor where it waits for that fiber.
    if (worker->locked_fiber == nullptr && worker->next_processor != nullptr) {
        Processor* processor = worker->next_processor;
        worker->next_processor = nullptr;
        acquire_processor(worker, processor);
    }
    schedule_loop(worker);
}

void remove_idle_worker(Worker* worker) {  // scheduler lock held
    (worker->idle_prev != nullptr ? worker->idle_prev->idle_next : g_scheduler.idle_workers) =
        worker->idle_next;
    if (worker->idle_next != nullptr) worker->idle_next->idle_prev = worker->idle_prev;
    worker->idle_next = worker->idle_prev = nullptr;
    worker->is_idle = false;
    g_scheduler.idle_worker_count.fetch_sub(1);
}

Worker* pop_idle_worker() {  // scheduler lock held
    Worker* worker = g_scheduler.idle_workers;
    if (worker != nullptr) remove_idle_worker(worker);
    return worker;
}

void push_idle_worker(Worker* worker) {  // scheduler lock held
    worker->idle_next = g_scheduler.idle_workers;
    if (worker->idle_next != nullptr) worker->idle_next->idle_prev = worker;
    worker->is_idle = true;
    g_scheduler.idle_workers = worker;
    g_scheduler.idle_worker_count.fetch_add(1);
}

void post(Worker* worker) {
    worker->wake_word.store(1, std::memory_order_release);
    Platform::futex_wake(worker->wake_word, 1);
}

// Waits for post(); false when `deadline_ns` passed first.
bool await_post(Worker* worker, int64_t deadline_ns) {
    while (worker->wake_word.load(std::memory_order_acquire) == 0) {
        if (deadline_ns != kNever && Platform::now_ns() >= deadline_ns) return false;
        Platform::futex_wait(worker->wake_word, 0, deadline_ns);
    }
    worker->wake_word.store(0, std::memory_order_relaxed);
    return true;
}

bool runs_locked_fiber() {
    const Fiber* self = current_fiber();
    return self != nullptr && self->worker != nullptr &&
           (self->worker->locked_fiber != nullptr || self->worker->must_end);
}

// A dead worker whose kernel thread has left its stack, or new memory.  With thousands in calls and
// none dead, none is looked for.
Worker* worker_memory() {
    Worker* worker = g_scheduler.dead_workers.load() > 0 ? g_scheduler.workers.load() : nullptr;
    for (; worker != nullptr; worker = worker->all_next) {
        int expected = 0;
        if (worker->tid.load(std::memory_order_acquire) != 0 ||
            !worker->tid.compare_exchange_strong(expected, -1))
            continue;
        g_scheduler.dead_workers.fetch_sub(1);
        return worker;
    }
    const long memory = host::raw_mmap(nullptr, sizeof(Worker), PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (host::is_error(memory)) return nullptr;
    worker = new (reinterpret_cast<void*>(memory)) Worker;
    worker->tid.store(-1);
    if (!host::kernel_thread_memory_create(&worker->memory, kSchedulerStackBytes)) {
        host::raw_munmap(worker, sizeof(Worker));
        return nullptr;
    }
    Worker* first = g_scheduler.workers.load();
    do worker->all_next = first;
    while (!g_scheduler.workers.compare_exchange_weak(first, worker));
    return worker;
}

}  // namespace

Worker* create_worker() {
    Worker* worker = worker_memory();
    if (worker == nullptr) return nullptr;
    worker->id = next_worker_id.fetch_add(1);
    worker->random = static_cast<uint32_t>(worker->id) * 2654435761u | 1;
    worker->processor = worker->next_processor = worker->old_processor = nullptr;
    worker->locked_fiber = nullptr;
    worker->wait_until_ns = kNever;
    worker->must_end = worker->is_spinning = worker->is_idle = worker->has_children = false;
    worker->handed = nullptr;
    worker->wake_word.store(0);
    worker->cpu_timer = -1;
    worker->timer_tick = 0;
    worker->slice_start_ns = worker->ticked_cpu_ns = 0;  // a new thread's CPU clock starts again
    worker->kernel_mask = 0;
    worker->alternate_stack = 0;
    worker->mask_generation = 0;
    worker->is_monitor = worker->is_lent = false;
    Fiber& scheduler = worker->scheduler_fiber;
    scheduler.is_scheduler = true;
    scheduler.depth = 1;
    scheduler.tp = worker->memory.tp;
    scheduler.worker = worker;
    worker->current = &scheduler;
    // Its thread sees the identity before its first instruction.
    *host::tls_at(worker->memory.tp, &t_current) = &scheduler;
    return worker;
}

// One whose kernel thread was refused.
void discard_worker(Worker* worker) {
    g_scheduler.dead_workers.fetch_add(1);
    worker->tid.store(0);
}

// Go: startm. With a processor in hand; it runs on a sleeping or a new worker.
void start_worker(Processor* processor, bool spinning) {
    Worker* worker = nullptr;
    {
        LockGuard guard(g_scheduler.lock);
        worker = pop_idle_worker();
    }
    COUNT(wakeups);
    if (worker != nullptr) {
        worker->is_spinning = spinning;
        worker->next_processor = processor;
        post(worker);
        return;
    }
    // A new kernel thread inherits its creator's state: never clone from a worker whose fiber may
    // have changed it (Go's template thread).  The monitor, which never runs a fiber, does it
    // instead.
    const bool is_tainted = runs_locked_fiber();
    worker = is_tainted ? nullptr : create_worker();
    long rc = -ENOMEM;
    if (worker != nullptr) {
        worker->is_spinning = spinning;
        worker->next_processor = processor;
        rc = host::kernel_thread_start(worker->memory, worker_entry, worker, &worker->tid);
    }
    if (rc == 0) {
        COUNT(workers_started);
        g_scheduler.worker_count.fetch_add(1);
        return;
    }
    // The kernel has no thread for us: what the processor holds goes where others find it.
    if (!is_tainted)
        host::warn_once(
            reported_thread_limit,
            "no kernel thread (error %ld: RLIMIT_NPROC, pids cgroup or memory); fibers share "
            "those that there are, and the monitor tries again",
            -rc);
    if (worker != nullptr) {
        worker->next_processor = nullptr;
        discard_worker(worker);
    }
    if (spinning) g_scheduler.spinning.fetch_sub(1);
    {
        LockGuard guard(g_scheduler.lock);
        bool inherits = false;
        while (Fiber* fiber = processor->queue.get(&inherits)) g_scheduler.global.push_back(fiber);
        put_idle_processor(processor);
    }
    // Perhaps every worker waits in a call or for its locked fiber: the monitor tries again.  One
    // that sleeps for events is a worker too.
    g_scheduler.thread_refused.store(1);
    if (g_scheduler.sleeper_deadline_ns.load() != 0) break_sleeper();
    wake_monitor();
}

// Go: wakep.  Without Go's lock when no processor is idle: the submitter leaves a note and looks
// again, whoever gives a processor up counts it as idle and then looks at the note (W4).
void wake_worker() {
    if (!g_scheduler.must_wake()) return;
    Processor* processor = g_scheduler.take_for_wake(g_scheduler.lock, take_idle_processor);
    if (processor == nullptr) return;
    Platform::chaos_point();
    start_worker(processor, true);
}

// Go: stopm. The worker has no processor; returns with one.
void stop_worker(Worker* worker) {
    int64_t deadline = kNever;
    {
        LockGuard guard(g_scheduler.lock);
        push_idle_worker(worker);
        // Spares beyond the processors end after a while without work.
        if (!worker->is_leader && !worker->has_children &&
            g_scheduler.idle_worker_count.load() > g_scheduler.processor_count)
            deadline = Platform::now_ns() + options().spare_ms * 1000000;
    }
    if (!await_post(worker, deadline)) {
        bool was_idle = false;
        {
            LockGuard guard(g_scheduler.lock);
            was_idle = worker->is_idle;
            if (was_idle) remove_idle_worker(worker);
        }
        if (was_idle) end_worker(worker);
        await_post(worker, kNever);  // somebody chose it at the last moment
    }
    Processor* processor = worker->next_processor;
    worker->next_processor = nullptr;
    if (processor != nullptr) acquire_processor(worker, processor);
}

void end_worker(Worker* worker) {
    if (worker->is_spinning) {
        worker->is_spinning = false;
        g_scheduler.spinning.fetch_sub(1);
    }
    if (worker->processor != nullptr) hand_off(release_processor(worker));
    worker->must_end = false;
    if (worker->is_leader) {
        // The process's first thread would become a zombie leader: it sleeps instead, for ever.
        for (;;) await_post(worker, kNever);
    }
    // Perhaps it alone let a signal through that was opened while the sleeper slept, which renews
    // its mask then.
    if (g_scheduler.sleeper_deadline_ns.load() != 0) break_sleeper();
    preempt_worker_ending(worker);
    g_scheduler.worker_count.fetch_sub(1);
    g_scheduler.dead_workers.fetch_add(1);
    host::kernel_thread_exit();
}

Processor* take_idle_processor() {
    Processor* processor = g_scheduler.idle_processors;
    if (processor == nullptr) return nullptr;
    g_scheduler.idle_processors = processor->idle_next;
    processor->idle_next = nullptr;
    g_scheduler.idle_processor_count.fetch_sub(1);
    return processor;
}

void put_idle_processor(Processor* processor) {
    PFIBER_CHECK(processor->queue.is_empty(), "processor %d goes idle with work", processor->id);
    processor->worker = nullptr;
    if (g_scheduler.stop_requested.load() != 0) {
        processor->status.store(ProcessorStatus::kStopped);
        g_scheduler.tell_stopper();
        return;
    }
    processor->status.store(ProcessorStatus::kIdle);
    processor->idle_next = g_scheduler.idle_processors;
    g_scheduler.idle_processors = processor;
    g_scheduler.idle_processor_count.fetch_add(1);
}

void acquire_processor(Worker* worker, Processor* processor) {
    PFIBER_CHECK(worker->processor == nullptr, "worker %d gets a second processor", worker->id);
    processor->worker = worker;
    worker->processor = processor;
    worker->old_processor = processor;
    worker->left_pollers_ns = 0;
    processor->status.store(ProcessorStatus::kRunning);
    g_scheduler.ring_sleeping_monitor();  // not everything is idle any more
}

Processor* release_processor(Worker* worker) {
    Processor* processor = worker->processor;
    worker->processor = nullptr;
    return processor;
}

// Go: handoffp. The caller owns the processor and will not use it any more.  Starts a worker in
// every case in which find_runnable() would find work.
void hand_off(Processor* processor) {
    processor->worker = nullptr;
    if (g_scheduler.give_to_stopper(processor)) return;
    if (!processor->queue.is_empty() || !g_scheduler.global.is_empty()) {
        start_worker(processor, false);
        return;
    }
    if (g_scheduler.must_spin_on()) {
        start_worker(processor, true);
        return;
    }
    bool must_start = false;
    {
        LockGuard guard(g_scheduler.lock);
        // The last running processor, and nobody sleeps in the pollers: somebody has to.
        must_start = !g_scheduler.global.is_empty() ||
                     (g_scheduler.idle_processor_count.load() == g_scheduler.processor_count - 1 &&
                      g_scheduler.sleeper_deadline_ns.load() == 0);
        if (!must_start) put_idle_processor(processor);
    }
    if (must_start) {
        start_worker(processor, false);
        return;
    }
    if (g_scheduler.must_wake_for_note()) wake_worker();
    // Its timers are nobody's until the sleeper knows the earliest.
    const int64_t sleeper = g_scheduler.sleeper_deadline_ns.load();
    const int64_t earliest = processor->timers.earliest_ns();
    if (sleeper != 0 && earliest < sleeper) break_sleeper();
    if (sleeper == 0 && earliest != kNever) wake_worker();
}

void reset_spinning(Worker* worker) {
    worker->is_spinning = false;
    // The last spinner that found work wakes the next one: chains, one at a time (W4).
    if (g_scheduler.was_last_spinner()) wake_worker();
}

// Go: startlockedm. `fiber` runs on its own worker, with this worker's processor.
void start_locked_worker(Worker* worker, Fiber* fiber) {
    give_to_locked_worker(worker, fiber);
    stop_worker(worker);
}

// The worker has no processor then.
void give_to_locked_worker(Worker* worker, Fiber* fiber) {
    Worker* owner = fiber->locked_worker;
    Processor* processor = release_processor(worker);
    processor->worker = nullptr;
    owner->next_processor = processor;
    post(owner);
}

// Go: stoplockedm. Returns with a processor, to run the locked fiber, or without one where that
// runs beside them; or must_end is set.
void stop_locked_worker(Worker* worker) {
    if (worker->processor != nullptr) hand_off(release_processor(worker));
    Fiber* fiber = worker->locked_fiber;
    if (!await_post(worker, worker->wait_until_ns)) {
        const auto claim = fiber->park.claim(fiber->park.open_sequence(), Wake::kTimeout);
        if (claim == ParkWord<Platform>::Claim::kFailed) await_post(worker, kNever);
    }
    worker->wait_until_ns = kNever;
    Processor* processor = worker->next_processor;
    worker->next_processor = nullptr;
    if (processor != nullptr) acquire_processor(worker, processor);
}

// The kernel decides when it gets a CPU.
void start_beside(Fiber* fiber) { post(fiber->locked_worker); }

// A clone of the calling kernel thread, with its state, that waits for its locked fiber.
bool start_bound_worker(Worker* worker) {
    if (host::kernel_thread_start(worker->memory, worker_entry, worker, &worker->tid) != 0)
        return false;
    COUNT(workers_started);
    g_scheduler.worker_count.fetch_add(1);
    return true;
}

// Its fiber, which never ran, is not to be run by it.
void dismiss_bound_worker(Worker* worker) {
    worker->must_end = true;
    post(worker);
}

}  // namespace pfiber
