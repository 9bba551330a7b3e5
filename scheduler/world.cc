// Stopping the world, and the number of processors.
//
// The stopper has no processor (its fiber hands it off first; the monitor and foreign threads have
// none), so whoever else waits for the lock holds up nobody.  It takes every processor: idle ones
// from the list, those in a call by compare-and-swap of their status; workers in their loop, and
// fibers that enter or leave the runtime, give theirs.  A fiber in program code need not be
// interrupted: the stopper claims it as the monitor does for missed calls (W5) and keeps the claim.
// It computes on without the runtime, and its next entry waits for the start.  So a world with hogs
// stops within microseconds, no signal is sent and no system call interrupted.
//
// C1  From stop to start every processor is the stopper's: kStopped, on no list, and no ring, heap
//     or instance of theirs is changed by its owner.
// C2  What a removed processor held is another's before the start: ring and next slot at the head
//     of the global queue, timers in another heap, descriptors in another instance.
// C3  After the start every processor that is left runs or is idle, and somebody looks at what
//     became ready meanwhile: hand_off() decides as for any processor that is given away, and lets
//     the first one spin, so that what lies behind a halted fiber is found too.
// Go: stopTheWorldWithSema, startTheWorldWithSema, procresize, gcstopm.
#include "scheduler/world.h"

#include <sys/mman.h>

#include <new>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/cpu_count.h"
#include "scheduler/host/report.h"
#include "scheduler/scheduler.h"

namespace pfiber {

namespace {

constexpr int64_t kAskAgainNs = 100000;  // Go's
constexpr int kAutomatic = -1;

host::CpuGroup monitors_group;  // a fork child's is its parent's

// What the program asked for; 0: nothing yet, so GOMAXPROCS decides.  Outlives a fork.
std::atomic<int> asked_count{0};

void stop_world() {
    {
        LockGuard guard(g_scheduler.lock);
        // From here on put_idle_processor() puts nothing on the list.
        g_scheduler.stop_requested.store(1);
        while (Processor* processor = take_idle_processor())
            processor->status.store(ProcessorStatus::kStopped);
    }
    const auto stop_all = [] {
        bool all = true;
        for (int i = 0; i < g_scheduler.processor_count; i++)
            all = g_scheduler.stop(g_scheduler.processors[i], barrier_on_every_thread) && all;
        return all;
    };
    g_scheduler.gather(stop_all, kAskAgainNs);
}

void start(Processor* processor) {
    if (processor->halted != nullptr) return g_scheduler.resume(processor);
    processor->status.store(ProcessorStatus::kIdle);
    hand_off(processor);
}

// Its fiber runs on without a processor until its next entry or its own CPU timer (W1).
void take_from_halted(Processor* processor) {
    Fiber* fiber = processor->halted;
    if (fiber == nullptr) return;
    Worker* worker = processor->worker;
    processor->halted = nullptr;
    processor->worker = nullptr;
    deprive(worker, fiber);
    if (options().preempt == Preempt::kTgkill) kick(fiber);
}

void start_world(int former) {
    {
        LockGuard guard(g_scheduler.lock);
        g_scheduler.stop_requested.store(0);
    }
    for (int i = g_scheduler.processor_count; i < former; i++)
        take_from_halted(g_scheduler.processors[i]);
    for (int i = 0; i < g_scheduler.processor_count; i++) start(g_scheduler.processors[i]);
    g_scheduler.wake_halted();
    // It sleeps until the earliest timer it saw, perhaps in an instance that is not the only one
    // any more.
    if (g_scheduler.sleeper_deadline_ns.load() != 0) break_sleeper();
}

// ---- in a stopped world

// Keeps the order in which they would have run, before what the queue holds.
void drain_queue(Processor* processor) {
    Fiber* first = nullptr;
    Fiber* last = nullptr;
    int count = 0;
    bool inherits = false;
    while (Fiber* fiber = processor->queue.get(&inherits)) {
        (last == nullptr ? first : last->queue_next) = fiber;
        last = fiber;
        count++;
    }
    if (first == nullptr) return;
    LockGuard guard(g_scheduler.lock);
    g_scheduler.global.push_front_list(first, last, count);
}

// What a former attempt left is used again.
bool make_processors(int count) {
    int made = g_scheduler.made_count;
    while (made < count && g_scheduler.processors[made] != nullptr) made++;
    if (count <= made) return true;
    const long memory =
        host::raw_mmap(nullptr, sizeof(Processor) * static_cast<size_t>(count - made),
                       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (host::is_error(memory)) return false;
    auto* processors = reinterpret_cast<Processor*>(memory);
    for (int i = made; i < count; i++) {
        Processor* processor = new (&processors[i - made]) Processor;
        processor->id = i;
        processor->status.store(ProcessorStatus::kStopped);
        g_scheduler.processors[i] = processor;
    }
    return true;
}

void remove_processor(int index, int left) {
    Processor* processor = g_scheduler.processors[index];
    Processor* heir = g_scheduler.processors[index % left];
    drain_queue(processor);
    timers_move(processor, heir);
    poller_move(processor, heir);
}

// What the heirs of removed processors need, before anything is moved.
bool has_room_for_timers(int count, int former) {
    for (int heir = 0; heir < count && heir < former - count; heir++) {
        size_t more = 0;
        for (int i = count; i < former; i++)
            if (i % count == heir) more += g_scheduler.processors[i]->timers.size();
        if (!timers_reserve(g_scheduler.processors[heir], more)) return false;
    }
    return true;
}

// World lock held, no processor.  False: nothing changed.
bool resize(int count) {
    const int former = g_scheduler.processor_count;
    if (!make_processors(count)) return false;
    stop_world();
    // New instances stand at the program's lowest free number for a moment: nobody opens any now.
    const bool can = pollers_grow(count) && has_room_for_timers(count, former);
    if (can) {
        for (int i = former - 1; i >= count; i--) remove_processor(i, count);
        for (int i = former; i < count; i++)  // the monitor's last look is an old one
            g_scheduler.processors[i]->schedule_tick.fetch_add(1);
        g_scheduler.processor_count = count;
        COUNT(resizes);
    }
    start_world(former);
    return can;
}

int change(int count) {
    LockGuard guard(g_scheduler.world_lock);
    const int former = g_scheduler.processor_count;
    if (count != former && !resize(count))
        host::warn("no memory or descriptors for %d processors; GOMAXPROCS stays %d", count,
                   former);
    return former;
}

int change_from_here(int count) {
    Fiber* self = current_fiber();
    if (self == nullptr) return change(count);
    enter_blocking_call(self);
    // A signal handler that ran here would wait for a processor, and the world for us.
    self->depth++;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const int former = change(count);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    self->depth--;
    exit_call(self);
    return former;
}

}  // namespace

int processor_count() {
    const int running = g_scheduler.processor_count;
    if (running != 0) return running;
    const int asked = asked_count.load();
    if (asked > 0) return asked;
    const auto fixed = static_cast<int>(options().gomaxprocs);
    return fixed != 0 && asked != kAutomatic ? fixed : host::default_processor_count();
}

int set_processor_count(int wanted) {
    if (wanted < 1) return processor_count();
    if (wanted > kMaxProcessors) wanted = kMaxProcessors;
    const int former = processor_count();
    asked_count.store(wanted);
    return g_runtime_started ? change_from_here(wanted) : former;
}

int set_default_processor_count() {
    const int former = processor_count();
    asked_count.store(kAutomatic);
    return g_runtime_started ? change_from_here(host::default_processor_count()) : former;
}

// At most once a second, and only while the monitor is awake anyway: an idle process finds out when
// it has work again.
void update_processor_count() {
    if (asked_count.load() > 0 || (options().gomaxprocs != 0 && asked_count.load() != kAutomatic))
        return;
    const int count = host::default_processor_count(&monitors_group);
    if (count == g_scheduler.processor_count) return;
    if (!g_scheduler.world_lock.try_acquire()) return;
    // Asked for meanwhile, or refused: then in a second again, without a line each time.
    if (asked_count.load() <= 0) resize(count);
    g_scheduler.world_lock.release();
}

void wait_for_claim(Fiber* fiber) { g_scheduler.wait_for_claim(fiber); }

}  // namespace pfiber
