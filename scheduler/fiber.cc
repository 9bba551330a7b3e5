// Making, registering and recycling fibers.
//
// A slot, from low to high: guard | stack | signal reserve … static TLS | struct pthread | Fiber.
// Finished fibers wait in a pool by slot size; a fiber is never destroyed (type-stable memory),
// only the stack pages of long free lists go back to the kernel.
#include "scheduler/fiber.h"

#include <string.h>

#include <new>

#include "scheduler/base/counters.h"
#include "scheduler/host/identity.h"
#include "scheduler/host/report.h"
#include "scheduler/scheduler.h"

namespace pfiber {

namespace {

constexpr size_t kPage = 4096;
// Room for one frame of the kernel and the handler on it, beyond what the program uses.  A native
// thread's block stands inside the stack that was asked for, ours does not: the difference is room
// already, so that a stack is usually as large as asked for and the guard where it belongs.
size_t signal_reserve() {
    constexpr size_t kHandler = 640;
    const size_t frame = host::signal_frame_size() + kHandler;
    const size_t block = host::identity_layout.static_tls_size + host::identity_layout.pthread_size;
    return frame > block ? (frame - block + kPage - 1) & ~(kPage - 1) : 0;
}
// Small stacks have what they asked for, at the price of another page in use.  Larger ones share
// their first page with the block above, and end that much sooner, so that the guard is exactly
// where the attributes tell: less than what a native thread's block takes out of its stack.
constexpr size_t kExactBytes = 64 * 1024;
constexpr size_t kPoolClasses = 64;
constexpr int kWarmStacks = 64;  // of a class, kept with their pages
constexpr size_t kWarmBytes = 32 * 1024;
constexpr uint32_t kTidMask = (1u << 30) - 1;

struct PoolClass {
    size_t slot_size = 0, guard = 0;
    Fiber* first = nullptr;
    int count = 0;
};

Lock pool_lock;
PoolClass pool[kPoolClasses];
Platform::Atomic<uint32_t> next_tid{kFirstFiberTid};
// libc's list of threads was emptied so often, by forks.
uint32_t list_generation = 0;
uintptr_t survivor_of_fork = 0;  // in a fork's child that made no fiber yet

PoolClass* pool_class(size_t slot_size, size_t guard) {
    for (PoolClass& entry : pool) {
        if (entry.slot_size == slot_size && entry.guard == guard) return &entry;
        if (entry.slot_size == 0) {
            entry.slot_size = slot_size;
            entry.guard = guard;
            return &entry;
        }
    }
    return nullptr;
}

Fiber* take_pooled(size_t slot_size, size_t guard) {
    LockGuard locked(pool_lock);
    PoolClass* entry = pool_class(slot_size, guard);
    if (entry == nullptr || entry->first == nullptr) return nullptr;
    Fiber* fiber = entry->first;
    entry->first = fiber->queue_next;
    entry->count--;
    fiber->queue_next = nullptr;
    return fiber;
}

size_t round_up(size_t value, size_t to) { return (value + to - 1) & ~(to - 1); }

uintptr_t fiber_below(uintptr_t end) { return (end - sizeof(Fiber)) & ~uintptr_t{63}; }
uintptr_t thread_pointer_below(uintptr_t fiber_at) {
    const host::IdentityLayout& layout = host::identity_layout;
    return (fiber_at - layout.pthread_size) & ~(layout.alignment - 1);
}
uintptr_t tls_below(uintptr_t tp) {
    return (tp - host::identity_layout.static_tls_size) & ~uintptr_t{63};
}

// What a slot holds above the stack; its end is page-aligned.
size_t top_bytes() {
    constexpr uintptr_t kAnyEnd = uintptr_t{1} << 40;
    return kAnyEnd - tls_below(thread_pointer_below(fiber_below(kAnyEnd)));
}

Fiber* make(size_t slot_size, size_t guard) {
    host::StackSlot slot;
    if (!host::stack_slot_map(slot_size, guard, &slot)) return nullptr;
    const uintptr_t fiber_at = fiber_below(slot.base + slot.size);
    const uintptr_t tp = thread_pointer_below(fiber_at);
    if (!host::identity_create(tp)) {
        host::stack_slot_return(slot);
        return nullptr;
    }
    auto* fiber = new (reinterpret_cast<void*>(fiber_at)) Fiber;
    fiber->slot = slot;
    fiber->tp = tp;
    fiber->listed = list_generation;
    return fiber;
}

// libc's fork empties its list but for the caller, after we were told; a fork by number leaves it.
// Each block is listed again when it is used: to do it at once would touch the pages of all.
void look_at_list_after_fork() {
    if (host::identity_list_is_emptied(survivor_of_fork)) list_generation++;
    survivor_of_fork = 0;
}

// Listed first: what is loaded meanwhile is initialised by one or the other.
void reuse_identity(Fiber* fiber) {
    if (fiber->listed != list_generation) host::identity_list(fiber->tp);
    fiber->listed = list_generation;
    host::identity_recycle(fiber->tp);
}

void enroll(Fiber* fiber) {
    LockGuard locked(g_scheduler.registry_lock);
    Fiber& head = g_scheduler.registry;
    fiber->all_next = &head;
    fiber->all_prev = head.all_prev;
    head.all_prev->all_next = fiber;
    head.all_prev = fiber;
}

void withdraw(Fiber* fiber) {
    LockGuard locked(g_scheduler.registry_lock);
    if (fiber->all_next == nullptr) return;
    fiber->all_next->all_prev = fiber->all_prev;
    fiber->all_prev->all_next = fiber->all_next;
    fiber->all_next = fiber->all_prev = nullptr;
}

// The first thing a new fiber runs.
void fiber_start(host::Transfer arrived) {
    auto* worker = static_cast<Worker*>(arrived.data);
    worker->previous->context = arrived.fctx;
    finish_switch(worker);
    Fiber* self = current_fiber();
    host::identity_enter();
    RuntimeSection::leave(self);
    self->entry(self);
    host::fatal("fiber %llu returned from its entry", static_cast<unsigned long long>(self->id));
}

}  // namespace

const char* wait_reason_text(WaitReason reason) {
    switch (reason) {
        case WaitReason::kNone:
            return "none";
        case WaitReason::kIo:
            return "IO wait";
        case WaitReason::kPoll:
            return "poll";
        case WaitReason::kSleep:
            return "sleep";
        case WaitReason::kMutex:
            return "mutex lock";
        case WaitReason::kCond:
            return "condition wait";
        case WaitReason::kRwlock:
            return "rwlock";
        case WaitReason::kBarrier:
            return "barrier wait";
        case WaitReason::kSemaphore:
            return "semaphore wait";
        case WaitReason::kOnce:
            return "once";
        case WaitReason::kFutex:
            return "futex wait";
        case WaitReason::kJoin:
            return "join";
        case WaitReason::kSigwait:
            return "sigwait";
        case WaitReason::kPause:
            return "pause";
        case WaitReason::kAccept:
            return "accept turn";
        case WaitReason::kLibcLock:
            return "libc lock";
        case WaitReason::kForked:
            return "child process";
    }
    return "unknown";
}

Fiber* fiber_create(size_t stack_size, size_t guard_size, uintptr_t user_low) {
    constexpr size_t kMostBytes = size_t{1} << 46;  // the address space has 47 bits
    if (stack_size > kMostBytes || guard_size > kMostBytes) return nullptr;
    const size_t guard = user_low != 0 ? kPage : round_up(guard_size, kPage);
    const size_t own_stack = user_low != 0 ? kPage : round_up(stack_size, kPage) + signal_reserve();
    const size_t slot_size =
        stack_size <= kExactBytes || user_low != 0
            ? guard + own_stack + round_up(top_bytes(), kPage)
            : guard + ((stack_size + signal_reserve() + top_bytes()) & ~(kPage - 1));
    if (survivor_of_fork != 0) look_at_list_after_fork();
    Fiber* fiber = nullptr;
    {
        OptionalSection section;
        fiber = take_pooled(slot_size, guard);
    }
    if (fiber != nullptr)
        reuse_identity(fiber);
    else
        fiber = make(slot_size, guard);
    if (fiber == nullptr) return nullptr;

    const uintptr_t tls_low = tls_below(fiber->tp);
    fiber->stack_low = user_low != 0 ? user_low : fiber->slot.base + guard;
    fiber->stack_top = user_low != 0 ? (user_low + stack_size) & ~uintptr_t{15} : tls_low;
    if (user_low == 0 && stack_size <= kExactBytes && tls_low - fiber->stack_low > own_stack)
        fiber->stack_top = fiber->stack_low + own_stack;
    uint32_t tid = next_tid.fetch_add(1, std::memory_order_relaxed);
    if (tid > kTidMask) {
        next_tid.store(kFirstFiberTid + 1);
        tid = kFirstFiberTid;
    }
    fiber->tid = tid;
    fiber->id = g_scheduler.next_id.fetch_add(1, std::memory_order_relaxed);
    fiber->attention.store(0);
    fiber->depth = 1;  // left by fiber_start()
    fiber->wait_priority = 0;
    fiber->pinned = 0;
    fiber->is_attending = false;
    fiber->busy_wait_trust = 0;
    fiber->in_call = false;
    fiber->runs_beside = false;
    fiber->attends_in_call = false;
    fiber->worker = nullptr;
    fiber->alternate_stack = 0;
    fiber->alternate_stack_told.store(0);
    fiber->cpu_ns = 0;
    fiber->cpu_start_ns = -1;
    fiber->state.store(FiberState::kNew);
    host::identity_assign(fiber->tp, tid, fiber->stack_low, fiber->stack_top - fiber->stack_low,
                          guard_size);
    *host::tls_at(fiber->tp, &t_current) = fiber;
    *host::tls_at(fiber->tp, &t_owner) = fiber;
    return fiber;
}

void fiber_spawn(Fiber* fiber, FiberEntry entry) {
    fiber->entry = entry;
    fiber->context = host::make_context(reinterpret_cast<void*>(fiber->stack_top),
                                        fiber->stack_top - fiber->stack_low, fiber_start);
    COUNT(fibers);
    OptionalSection section;
    enroll(fiber);
    COUNT_PEAK(fibers_peak, g_scheduler.live.fetch_add(1) + 1);
    ready(fiber, true);
}

void fiber_finish(Fiber* fiber) {
    timer_forget(fiber);
    withdraw(fiber);
    g_scheduler.live.fetch_sub(1);
    if (fiber->locked_worker != nullptr) {
        // What the fiber changed in its kernel thread must not reach another fiber.
        Worker* worker = fiber->locked_worker;
        fiber->locked_worker = nullptr;
        fiber->lock_count = 0;  // the next life of this block starts unbound
        worker->locked_fiber = nullptr;
        worker->must_end = true;
    }
    leave_fiber(fiber, AfterSwitch::kFinish);
    host::fatal("fiber %llu ran after its end", static_cast<unsigned long long>(fiber->id));
}

void fiber_recycle(Fiber* fiber) {
    OptionalSection section;
    bool is_cold = false;
    fiber->state.store(FiberState::kFree);
    {
        LockGuard locked(pool_lock);
        PoolClass* entry = pool_class(fiber->slot.size, fiber->slot.guard);
        if (entry != nullptr && entry->count < kWarmStacks) {
            fiber->queue_next = entry->first;
            entry->first = fiber;
            entry->count++;
        } else {
            is_cold = true;
        }
    }
    if (is_cold) {
        const uintptr_t low = fiber->slot.base + fiber->slot.guard;
        const uintptr_t top = (fiber->tp - host::identity_layout.static_tls_size) & ~(kPage - 1);
        if (top > low + kWarmBytes) host::stack_release_pages(low, top - kWarmBytes);
        LockGuard locked(pool_lock);
        PoolClass* entry = pool_class(fiber->slot.size, fiber->slot.guard);
        if (entry != nullptr) {
            fiber->queue_next = entry->first;
            entry->first = fiber;
            entry->count++;
        }
    }
}

// A list whose lock was held at the fork may be half changed: its fibers are forgotten.
void fiber_pool_after_fork(Fiber* survivor) {
    if (!pool_lock.try_acquire())
        for (PoolClass& entry : pool) entry.first = nullptr, entry.count = 0;
    pool_lock.reset();
    survivor_of_fork = survivor->tp;
}

int64_t live_fibers() { return g_scheduler.live.load(); }

void for_each_fiber(void (*visit)(Fiber*, void*), void* argument) {
    if (!g_runtime_started) return;  // a fork child that made no thread yet
    LockGuard locked(g_scheduler.registry_lock);
    Fiber& head = g_scheduler.registry;
    for (Fiber* fiber = head.all_next; fiber != &head; fiber = fiber->all_next)
        visit(fiber, argument);
}

Fiber* fiber_with_tid(uint32_t tid) {
    if (!g_runtime_started) return nullptr;
    OptionalSection section;
    LockGuard locked(g_scheduler.registry_lock);
    Fiber& head = g_scheduler.registry;
    for (Fiber* fiber = head.all_next; fiber != &head; fiber = fiber->all_next)
        if (fiber->tid == tid) return fiber;
    return nullptr;
}

}  // namespace pfiber
