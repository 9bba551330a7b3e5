// Masks of fibers and the kernel mask of workers (signal.h).
//
// A signal is blocked in the kernel when the number of fibers that block it equals the number of
// fibers.  Threads inherit masks, so the set changes seldom; each change has a generation, which
// workers compare before they run program code.
#include <string.h>

#include "scheduler/base/options.h"
#include "scheduler/host/signal.h"
#include "scheduler/scheduler.h"
#include "shim/signal.h"
#include "shim/thread.h"

namespace pfiber::shim {

namespace {

Lock mask_lock;
int blocked_by[64];  // fibers that block signal i + 1
int threads = 1;
std::atomic<uint64_t> common_mask{0};
std::atomic<uint64_t> generation{1};

// Never blocked in the kernel: the preemption signal and what cannot be blocked usefully.
uint64_t always_open() {
    return signal_bit(static_cast<int>(options().signal)) | signal_bit(SIGSEGV) |
           signal_bit(SIGBUS) | signal_bit(SIGILL) | signal_bit(SIGFPE) | signal_bit(SIGTRAP) |
           signal_bit(SIGSYS);
}

void recompute() {  // mask_lock held
    uint64_t mask = 0;
    for (int i = 0; i < 64; i++)
        if (blocked_by[i] >= threads) mask |= uint64_t{1} << i;
    mask &= ~always_open();
    if (mask == common_mask.load()) return;
    common_mask.store(mask);
    generation.fetch_add(1);
}

void count(uint64_t mask, int change) {  // mask_lock held
    for (; mask != 0; mask &= mask - 1) blocked_by[__builtin_ctzll(mask)] += change;
}

}  // namespace

namespace {

// Around each change of a worker's kernel mask, on that worker; handlers nest.  Either it finds the
// new process mask, or who changed that finds it here.
struct Renewing {
    Worker* worker;
    explicit Renewing(Worker* own) : worker(own) { count_to(worker->masks_renewed.load() + 1); }
    ~Renewing() { count_to(worker->masks_renewed.load() - 1); }
    void count_to(uint32_t n) { worker->masks_renewed.store(n); }
};

// One that slept through the time in which the mask was smaller still has it.
bool has_it_already(Worker* worker) {
    return worker->masks_renewed.load() == 0 &&
           (common_mask.load() & ~static_cast<volatile uint64_t&>(worker->kernel_mask)) == 0;
}

bool may_lack_mask(const Worker* worker, const Worker* own) {
    return worker != own && worker->tid.load() > 0 && !worker->is_monitor;
}

// It is in a system call, perhaps one that signals do not end: a parent in vfork, a disk.  All
// others answer as soon as they get a CPU.
bool may_sleep_on(Worker* worker) {
    auto& idle = static_cast<volatile bool&>(worker->is_idle);
    auto& processor = static_cast<Processor* volatile&>(worker->processor);
    const Fiber* fiber = static_cast<Fiber* volatile&>(worker->current);
    if (fiber->runs_beside) return fiber->in_call;
    return (!idle && processor == nullptr) || fiber->in_call;
}

bool lacks_mask(Worker* worker, int tid, uint64_t wanted) {
    return worker->tid.load() == tid &&
           static_cast<volatile uint64_t&>(worker->mask_generation) < wanted &&
           !has_it_already(worker);
}

template <class Done>
void await(Worker* worker, int64_t since_ns, Done is_done) {
    constexpr int64_t kAtOnceNs = 100000, kInCallNs = 5000000, kLongestNs = 1000000000;
    while (!is_done()) {
        const int64_t waited = Platform::now_ns() - since_ns;
        if (waited > (may_sleep_on(worker) ? kInCallNs : kLongestNs)) return;
        const timespec moment{0, 50000};
        if (waited < kAtOnceNs)
            host::raw_syscall(SYS_sched_yield);
        else
            host::raw_syscall(SYS_nanosleep, &moment, nullptr);
    }
}

}  // namespace

// A signal that everybody blocks now must find no worker that still lets it through: its default
// action would end the process.  Workers renew their masks when they are kicked; one in a system
// call gets a few milliseconds.
void renew_other_masks(Worker* own) {
    const uint64_t wanted = generation.load();
    const int64_t since = Platform::now_ns();
    Worker* const first = g_scheduler.workers.load();
    for (Worker* worker = first; worker != nullptr; worker = worker->all_next)
        if (may_lack_mask(worker, own) && !has_it_already(worker))
            host::raw_tgkill(host::raw_getpid(), worker->tid.load(),
                             static_cast<int>(options().signal));
    for (Worker* worker = first; worker != nullptr; worker = worker->all_next)
        if (may_lack_mask(worker, own))
            await(worker, since,
                  [=, tid = worker->tid.load()] { return !lacks_mask(worker, tid, wanted); });
}

void await_entries(Worker* own, uint64_t signals) {
    const uint64_t wanted = generation.fetch_add(1) + 1;
    const int64_t since = Platform::now_ns();
    const auto may_have_taken = [own, signals](Worker* worker) {
        return may_lack_mask(worker, own) &&
               (static_cast<volatile uint64_t&>(worker->kernel_mask) & signals) != signals;
    };
    Worker* const first = g_scheduler.workers.load();
    for (Worker* worker = first; worker != nullptr; worker = worker->all_next)
        if (may_have_taken(worker))
            host::raw_tgkill(host::raw_getpid(), worker->tid.load(),
                             static_cast<int>(options().signal));
    for (Worker* worker = first; worker != nullptr; worker = worker->all_next) {
        const int tid = worker->tid.load();
        await(worker, since, [=] {
            return worker->tid.load() != tid || !may_have_taken(worker) ||
                   static_cast<volatile uint64_t&>(worker->mask_generation) >= wanted;
        });
    }
}

uint64_t mask_of(const sigset_t* set) {
    uint64_t mask;
    memcpy(&mask, set, sizeof mask);
    return mask & ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP) | uint64_t{3} << 31);
}

void mask_to(uint64_t mask, sigset_t* set) {
    memset(set, 0, sizeof *set);
    memcpy(set, &mask, sizeof mask);
}

uint64_t process_mask() { return common_mask.load(); }

void install_worker_mask(Worker* worker) {
    if (worker->mask_generation == generation.load()) return;
    const Renewing renewing(worker);
    worker->mask_generation = generation.load();
    worker->kernel_mask = common_mask.load();
    host::raw_sigprocmask(SIG_SETMASK, &worker->kernel_mask, nullptr);
}

void open_worker_mask(Worker* worker) {
    const Renewing renewing(worker);
    worker->mask_generation = generation.load();
    worker->kernel_mask = common_mask.load();
    host::raw_sigprocmask(SIG_SETMASK, &worker->kernel_mask, nullptr);
}

// In the preemption handler, any context: what sigreturn will install on this worker.
void renew_mask(Worker* worker, void* context) {
    if (worker->mask_generation == generation.load()) return;
    const Renewing renewing(worker);
    const uint64_t now = generation.load();
    worker->kernel_mask = common_mask.load();
    host::set_saved_mask(context, worker->kernel_mask);
    worker->mask_generation = now;
}

void install_exact_mask(uint64_t mask) { host::raw_sigprocmask(SIG_SETMASK, &mask, nullptr); }

// A handler that renews it comes before the kernel reads it, or changes it in its frame.
void reinstall_worker_mask(const Worker* worker) {
    host::raw_sigprocmask(SIG_SETMASK, &worker->kernel_mask, nullptr);
}

uint64_t change_mask(Fiber* fiber, uint64_t mask) {
    Thread* thread = thread_of(fiber);
    if (thread->mask == mask) return 0;
    LockGuard guard(mask_lock);
    const uint64_t before = common_mask.load();
    count(thread->mask & ~mask, -1);
    count(mask & ~thread->mask, 1);
    thread->mask = mask;
    recompute();
    return common_mask.load() & ~before;
}

void set_thread_mask(Fiber* fiber, uint64_t mask) {
    Thread* thread = thread_of(fiber);
    // What arrived before the change meets the old mask.
    if (signals_are_noted()) dispatch_noted_signals();
    if (const uint64_t before = thread->mask; before != mask) {
        RuntimeSection section(fiber);
        const uint64_t grown = change_mask(fiber, mask);
        if (grown != 0) renew_other_masks(fiber->worker);
        const uint64_t closed = (mask & ~before) | grown;
        if ((pending_for(fiber) & closed) != 0) {
            // They were to be ours: another thread's, or the kernel's, but not this worker's again.
            if (grown != 0) host::raw_sigprocmask(SIG_BLOCK, &grown, nullptr);
            hand_out(closed);
        }
    }
    // Outside the runtime: what the kernel kept back is delivered here and now.
    fiber->pinned++;
    install_worker_mask(fiber->worker);
    fiber->pinned--;
    if (deliverable_to(fiber) != 0) {
        fiber->attention.fetch_or(kAttendSignal);
        check_attention(fiber);
    }
}

void masks_start(uint64_t main_mask) {
    memset(blocked_by, 0, sizeof blocked_by);
    threads = 1;
    count(main_mask, 1);
    common_mask.store(~uint64_t{0});
    recompute();
}

void masks_thread_added(uint64_t mask) {
    LockGuard guard(mask_lock);
    threads++;
    count(mask, 1);
    if (mask != 0 || common_mask.load() != 0) recompute();
}

uint64_t masks_thread_removed(uint64_t mask) {
    LockGuard guard(mask_lock);
    const uint64_t before = common_mask.load();
    threads--;
    count(mask, -1);
    recompute();
    return common_mask.load() & ~before;
}

void masks_after_fork() { mask_lock.reset(); }

}  // namespace pfiber::shim
