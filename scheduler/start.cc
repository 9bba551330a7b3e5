// Start of the runtime at the first pthread_create, and its end in the child of a fork.
#include <errno.h>
#include <sys/mman.h>

#include <new>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/cpu_time.h"
#include "scheduler/host/identity.h"
#include "scheduler/host/libc.h"
#include "scheduler/host/report.h"
#include "scheduler/host/signal.h"
#include "scheduler/host/thread_state.h"
#include "scheduler/prediction.h"
#include "scheduler/scheduler.h"
#include "scheduler/wait_queue.h"
#include "scheduler/world.h"

namespace pfiber {

namespace {

Fiber main_fiber_storage;
Fiber* the_main_fiber = nullptr;

void scheduler_entry(host::Transfer arrived) {
    auto* worker = static_cast<Worker*>(arrived.data);
    worker->previous->context = arrived.fctx;
    finish_switch(worker);
    schedule_loop(worker);
}

// The calling kernel thread becomes the first worker, the thread itself the main fiber.
bool adopt_main(Fiber* fiber) {
    Worker* worker = create_worker();
    if (worker == nullptr) return false;
    worker->is_leader = true;
    worker->tid.store(host::raw_gettid());
    g_scheduler.worker_count.store(1);
    constexpr size_t kStack = 64 * 1024;
    worker->scheduler_fiber.context = host::make_context(
        reinterpret_cast<void*>(worker->memory.stack_top), kStack, scheduler_entry);
    Processor* processor = g_scheduler.processors[0];
    fiber->worker = worker;
    worker->current = fiber;
    acquire_processor(worker, processor);
    return true;
}

}  // namespace

Fiber* main_fiber() { return the_main_fiber; }

bool runtime_start(const char** reason) {
    if (the_main_fiber == nullptr) {
        host::identity_disable_rseq();
        *reason = "neither FSGSBASE nor arch_prctl: the thread pointer cannot be set";
        if (!host::detect_fsgsbase()) return false;
        if (!host::identity_probe(reason, &g_start_error)) return false;
        Fiber* fiber = new (&main_fiber_storage) Fiber;
        fiber->tp = host::thread_pointer();
        fiber->id = 1;
        fiber->tid = static_cast<uint32_t>(host::raw_getpid());
        the_main_fiber = fiber;
    } else if (!host::identity_probe(reason, &g_start_error)) {  // a fork child starts again
        return false;
    }
    Fiber* fiber = the_main_fiber;
    fiber->depth = 1;
    LinuxPlatform::chaos_seed = options().chaos_seed;

    *reason = "no memory for the processors";
    g_start_error = ENOMEM;
    Scheduler& scheduler = g_scheduler;
    const int count = processor_count();
    const long memory = host::raw_mmap(nullptr, sizeof(Processor) * static_cast<size_t>(count),
                                       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (host::is_error(memory)) return fiber->depth = 0, false;
    auto* processors = reinterpret_cast<Processor*>(memory);
    for (int i = 0; i < count; i++) {
        scheduler.processors[i] = new (&processors[i]) Processor;
        scheduler.processors[i]->id = i;
    }
    scheduler.processor_count = count;
    *reason = "no epoll instance (RLIMIT_NOFILE, fs.epoll.max_user_watches or memory)";
    if (!pollers_start(count)) {
        pollers_reset_after_fork();
        return fiber->depth = 0, false;
    }
    scheduler.registry.all_next = scheduler.registry.all_prev = &scheduler.registry;
    *reason = "no memory for a worker";
    g_start_error = ENOMEM;
    if (!adopt_main(fiber)) return fiber->depth = 0, false;
    {
        LockGuard guard(scheduler.lock);
        for (int i = count - 1; i > 0; i--) put_idle_processor(scheduler.processors[i]);
    }
    {
        LockGuard guard(scheduler.registry_lock);
        Fiber& head = scheduler.registry;
        fiber->all_next = fiber->all_prev = &head;
        head.all_next = head.all_prev = fiber;
    }
    scheduler.live.store(1);
    fiber->cpu_ns = host::clock_ns(CLOCK_PROCESS_CPUTIME_ID);  // it was the only thread
    fiber->state.store(FiberState::kRunning);
    host::set_tid_field(fiber->tp, fiber->tid);
    t_current = t_owner = fiber;
    host::read_alternate_stack(&fiber->alternate_stack, &fiber->alternate_stack_size,
                               &fiber->alternate_stack_flags);
    fiber->worker->alternate_stack = fiber->alternate_stack;
    *reason = "no handler for the signal that preempts (PFIBER_SIGNAL)";
    bool is_complete = preempt_install();
    if (is_complete) {
        alternate_stack_told(fiber, fiber->alternate_stack, fiber->alternate_stack_size);
        preempt_worker_started(fiber->worker);
        *reason = "no kernel thread for the monitor (RLIMIT_NPROC, pids cgroup or memory)";
        is_complete = monitor_start();
        if (!is_complete) preempt_uninstall();
    }
    if (!is_complete) {
        t_current = t_owner = nullptr;
        pollers_reset_after_fork();
        return fiber->depth = 0, false;
    }
    g_runtime_started = true;
    RuntimeSection::leave(fiber);
    return true;
}

// The child has one thread: the survivor on a copy of its stack.  Every other fiber's block stays
// mapped and unused; inherited locks may be held by threads that do not exist, so all state is new.
void runtime_after_fork(Fiber* survivor) {
    pollers_reset_after_fork();
    host::stack_reset_after_fork();
    host::identity_after_fork();
    host::thread_state_after_fork();
    forget_calls();
    const int32_t depth = survivor->depth;
    survivor->timer.link = TimerLink{};
    survivor->locked_worker = nullptr;
    survivor->in_call = false;
    survivor->lock_count = 0;
    survivor->all_next = survivor->all_prev = nullptr;
    survivor->worker = nullptr;
    survivor->tid = static_cast<uint32_t>(host::raw_getpid());
    survivor->attention.store(0);
    survivor->depth = depth;
    survivor->cpu_ns = 0;
    survivor->cpu_start_ns = -1;
    g_cpu_accounting = false;
    the_main_fiber = survivor;
    new (&g_scheduler) Scheduler;
    fiber_pool_after_fork();
    descriptors_after_fork();
    wait_queues_reset_after_fork();
    counters_reset();
    g_runtime_started = false;
}

}  // namespace pfiber
