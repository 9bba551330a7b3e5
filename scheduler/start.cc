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

// Once in a process's life the main fiber is made; a fork child starts again with another one.
bool find_identity(const char** reason) {
    if (the_main_fiber != nullptr) return host::identity_probe(reason, &g_start_error);
    host::identity_disable_rseq();
    *reason = "neither FSGSBASE nor arch_prctl: the thread pointer cannot be set";
    if (!host::detect_fsgsbase() || !host::identity_probe(reason, &g_start_error)) return false;
    if (host::wants_executable_stacks()) host::stack_make_executable();
    Fiber* fiber = new (&main_fiber_storage) Fiber;
    fiber->tp = host::thread_pointer();
    fiber->id = 1;
    fiber->tid = static_cast<uint32_t>(host::raw_getpid());
    the_main_fiber = fiber;
    return true;
}

bool make_first_processors(int count, const char** reason) {
    *reason = "no memory for the processors";
    g_start_error = ENOMEM;
    const long memory = host::raw_mmap(nullptr, sizeof(Processor) * static_cast<size_t>(count),
                                       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (host::is_error(memory)) return false;
    auto* processors = reinterpret_cast<Processor*>(memory);
    for (int i = 0; i < count; i++) {
        g_scheduler.processors[i] = new (&processors[i]) Processor;
        g_scheduler.processors[i]->id = i;
    }
    g_scheduler.processor_count = count;
    *reason = "no epoll instance (RLIMIT_NOFILE, fs.epoll.max_user_watches or memory)";
    if (pollers_start(count)) return true;
    pollers_reset_after_fork();
    return false;
}

// The calling thread goes on as this fiber, on a worker of its own.
void become_fiber(Fiber* fiber) {
    Fiber& head = g_scheduler.registry;
    {
        LockGuard guard(g_scheduler.registry_lock);
        fiber->all_next = fiber->all_prev = &head;
        head.all_next = head.all_prev = fiber;
    }
    g_scheduler.live.store(1);
    fiber->cpu_ns = host::clock_ns(CLOCK_PROCESS_CPUTIME_ID);  // it was the only thread
    fiber->worker->ticked_cpu_ns = host::clock_ns(CLOCK_THREAD_CPUTIME_ID);
    fiber->state.store(FiberState::kRunning);
    host::set_tid_field(fiber->tp, fiber->tid);
    t_current = t_owner = fiber;
    host::read_alternate_stack(&fiber->alternate_stack, &fiber->alternate_stack_size,
                               &fiber->alternate_stack_flags);
    fiber->worker->alternate_stack = fiber->alternate_stack;
}

bool start_watching(Fiber* fiber, const char** reason) {
    *reason = "no handler for the signal that preempts (PFIBER_SIGNAL)";
    if (!preempt_install()) return false;
    alternate_stack_told(fiber, fiber->alternate_stack, fiber->alternate_stack_size);
    preempt_worker_started(fiber->worker);
    *reason = "no kernel thread for the monitor (RLIMIT_NPROC, pids cgroup or memory)";
    if (monitor_start()) return true;
    preempt_uninstall();
    return false;
}

}  // namespace

Fiber* main_fiber() { return the_main_fiber; }

bool runtime_start(const char** reason) {
    if (!find_identity(reason)) return false;
    Fiber* fiber = the_main_fiber;
    fiber->depth = 1;
    LinuxPlatform::chaos_seed = options().chaos_seed;
    const int count = processor_count();
    if (!make_first_processors(count, reason)) return fiber->depth = 0, false;
    g_scheduler.registry.all_next = g_scheduler.registry.all_prev = &g_scheduler.registry;
    *reason = "no memory for a worker";
    g_start_error = ENOMEM;
    if (!adopt_main(fiber)) return fiber->depth = 0, false;
    {
        LockGuard guard(g_scheduler.lock);
        for (int i = count - 1; i > 0; i--) put_idle_processor(g_scheduler.processors[i]);
    }
    become_fiber(fiber);
    if (!start_watching(fiber, reason)) {
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
    survivor->runs_beside = false;
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
    fiber_pool_after_fork(survivor);
    descriptors_after_fork();
    wait_queues_reset_after_fork();
    counters_reset();
    g_runtime_started = false;
}

}  // namespace pfiber
