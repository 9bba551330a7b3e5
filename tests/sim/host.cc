// The simulated host: what the headers in shadow/ declare, and the platform's members.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "scheduler/host/context.h"
#include "scheduler/host/cpu_count.h"
#include "scheduler/host/identity.h"
#include "scheduler/host/kernel_thread.h"
#include "scheduler/host/libc.h"
#include "scheduler/host/signal.h"
#include "scheduler/host/thread_state.h"
#include "scheduler/scheduler.h"
#include "tests/sim/check.h"
#include "tests/sim/kernel.h"

namespace pfiber::sim {

long simulated_syscall(long number, long a, long b, long c, long d, long e, long f) {
    return g_kernel.call(number, a, b, c, d, e, f);
}

// Not where fibers wait for each other while bound to their kernel threads.
bool refuses_every_thread() {
    const char* bound[] = {"locked", "mix", "resizing"};
    for (const char* workload : bound)
        if (strcmp(g_config.workload, workload) == 0) return false;
    return g_config.faults && g_config.seed % 4 == 0;
}

int64_t SimPlatform::now_ns() {
    step(20);
    return g_machine.now_ns();
}

long SimPlatform::futex_wait(const Atomic<uint32_t>& word, uint32_t expected, int64_t deadline_ns) {
    return g_kernel.futex_wait(&word, expected, deadline_ns);
}

void SimPlatform::futex_wake(const Atomic<uint32_t>& word, int count) {
    g_kernel.futex_wake(&word, count);
}

}  // namespace pfiber::sim

namespace pfiber::host {

using sim::g_machine;
using sim::KernelThread;

int64_t clock_ns(clockid_t clock) {
    sim::step(200);
    return clock == CLOCK_MONOTONIC ? g_machine.now_ns() : g_machine.cpu_ps(g_machine.self) / 1000;
}

int64_t monotonic_ns() { return sim::SimPlatform::now_ns(); }

int64_t thread_cpu_ns(int tid) {
    sim::step(250);
    const KernelThread* thread = g_machine.find(tid);
    return thread == nullptr ? -1 : g_machine.cpu_ps(thread) / 1000;
}

// ---- cpu_count.h

int default_processor_count() { return sim::g_default_processors; }
int default_processor_count(CpuGroup*, const char*) { return default_processor_count(); }

// ---- context.h

Transfer jump(Context target, void* argument) {
    sim::check_switch(static_cast<Worker*>(argument), target);
    return boost::context::detail::jump_fcontext(target, argument);
}

bool detect_fsgsbase() { return true; }

void set_thread_pointer(uintptr_t tp) {
    KernelThread* self = g_machine.self;
    *reinterpret_cast<Fiber**>(self->fs) = t_current;
    self->fs = tp;
    t_current = *reinterpret_cast<Fiber**>(tp);
}

// ---- identity.h

bool identity_probe(const char**, long*) { return true; }

uintptr_t thread_pointer() { return g_machine.self->fs; }

// ---- kernel_thread.h

bool kernel_thread_memory_create(KernelThreadMemory* memory, size_t stack_size) {
    constexpr size_t kPage = 4096;
    memory->size = stack_size + 2 * kPage;
    void* base = mmap(nullptr, memory->size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return false;
    mprotect(base, kPage, PROT_NONE);
    memory->base = base;
    const uintptr_t end = reinterpret_cast<uintptr_t>(base) + memory->size;
    memory->tp = end - 64;
    memory->stack_top = end - 128;
    return true;
}

void kernel_thread_memory_destroy(KernelThreadMemory* memory) {
    munmap(memory->base, memory->size);
    memory->base = nullptr;
}

int kernel_thread_start(const KernelThreadMemory& memory, void (*entry)(void*), void* argument,
                        std::atomic<int>* tid, bool) {
    sim::step(5000);
    if (sim::g_config.faults && g_runtime_started &&
        (sim::refuses_every_thread() || g_machine.random.one_in(5))) {
        sim::g_threads_refused++;
        return -EAGAIN;
    }
    g_machine.create(memory.tp, reinterpret_cast<void*>(memory.stack_top),
                     memory.stack_top - reinterpret_cast<uintptr_t>(memory.base) - 4096, entry,
                     argument, tid);
    sim::step(1000);
    return 0;
}

// A question to another thread takes its time; the answer may be old when it comes.
ThreadState kernel_thread_state(int tid, int) {
    sim::step(3000);
    const KernelThread* thread = g_machine.find(tid);
    // Without /proc, or a thread for the look, nobody knows.
    if (sim::g_config.faults && g_machine.random.one_in(4)) return ThreadState::kUnknown;
    const bool sleeps = thread != nullptr && thread->run == sim::Run::kBlocked &&
                        thread->blocked != sim::Blocked::kStall;
    sim::step(3000);
    return sleeps ? ThreadState::kSleeps : ThreadState::kRuns;
}

// Rings are refused to every other machine.  A position counts the switches, and its lowest bit
// says that the last one was to sleep; here it is made up from what the machine knows.
bool switch_ring_open(SwitchRing* ring, int tid, int) {
    sim::step(10000);
    if (sim::g_config.seed % 2 == 0) return false;
    ring->tid = tid;
    ring->memory = g_machine.find(tid);
    return ring->memory != nullptr;
}

uint64_t switch_ring_position(const SwitchRing& ring) {
    sim::step(sim::kLoadNs);
    const auto* thread = static_cast<const KernelThread*>(ring.memory);
    const bool sleeps =
        thread->run == sim::Run::kBlocked && thread->blocked != sim::Blocked::kStall;
    return static_cast<uint64_t>(thread->wake_at_ps) << 1 | uint64_t{sleeps};
}

bool switch_ring_is_asleep(const SwitchRing&, uint64_t position) {
    sim::step(sim::kLoadNs);
    return position % 2 == 1;
}

int thread_state_helper() { return 0; }
void thread_state_after_fork() {}

void kernel_thread_exit() { g_machine.exit_thread(); }

// ---- libc.h, signal.h

bool is_in_libc_or_loader(unsigned long pc) { return pc % 8 == 0; }

long raw_sigaction(int, const KernelSigaction*, KernelSigaction* old) {
    if (old != nullptr) *old = {};
    return 0;
}

long install_handler(int, SignalHandler handler, unsigned long, uint64_t) {
    g_machine.signal_handler = handler;
    return 0;
}

unsigned long program_counter(const void* context) {
    return static_cast<const sim::SignalContext*>(context)->pc;
}

unsigned long stack_pointer(const void* context) {
    return static_cast<const sim::SignalContext*>(context)->stack_pointer;
}

// sigreturn: the mask of the kernel thread that the fiber is on now.
void set_saved_mask(void*, uint64_t mask) { g_machine.self->mask = mask; }

void interrupt_blocking_syscall(void*) {}

}  // namespace pfiber::host
