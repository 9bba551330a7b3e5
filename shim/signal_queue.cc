// Pending signals: directed at a fiber, at the process, and those that landed in the runtime.
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "scheduler/base/counters.h"
#include "scheduler/scheduler.h"
#include "shim/signal.h"
#include "shim/thread.h"
#include "shim/timer_target.h"

namespace pfiber::shim {

namespace {

struct PendingSignal {
    PendingSignal* next;
    Fiber* target;  // null: the process
    int signal;
    siginfo_t info;
};

Lock queue_lock;  // a leaf beside the scheduler's lock order: nothing is taken under it
PendingSignal* pending_first;
PendingSignal** pending_last = &pending_first;
PendingSignal* spare;
std::atomic<uint64_t> process_pending{0};

// Signals that landed in the runtime.  Each slot: 0 free, 1 being written, 2 ready.
constexpr int kNotes = 1024;
struct Note {
    std::atomic<int> state{0};
    int signal;
    siginfo_t info;
};
Note notes[kNotes];

PendingSignal* new_entry() {  // queue_lock held
    if (spare == nullptr) {
        constexpr size_t kChunk = 64 * 1024;
        const long memory = host::raw_mmap(nullptr, kChunk, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (host::is_error(memory)) return nullptr;
        auto* entries = reinterpret_cast<PendingSignal*>(memory);
        for (size_t i = 0; i < kChunk / sizeof(PendingSignal); i++) {
            entries[i].next = spare;
            spare = &entries[i];
        }
    }
    PendingSignal* entry = spare;
    spare = entry->next;
    return entry;
}

bool is_real_time(int signal) { return signal >= 32; }

// queue_lock held.  EAGAIN when there is no memory for one more, ESRCH when the target has ended.
int enqueue(Fiber* target, int signal, const siginfo_t* info) {
    if (target != nullptr && thread_of(target)->takes_no_signals) return ESRCH;
    std::atomic<uint64_t>& bits = target == nullptr ? process_pending : thread_of(target)->pending;
    if (!is_real_time(signal) && (bits.load() & signal_bit(signal)) != 0)
        return 0;  // one at a time
    PendingSignal* entry = new_entry();
    if (entry == nullptr) return EAGAIN;
    entry->next = nullptr;
    entry->target = target;
    entry->signal = signal;
    entry->info = *info;
    *pending_last = entry;
    pending_last = &entry->next;
    bits.fetch_or(signal_bit(signal));
    return 0;
}

void remove(PendingSignal** at) {  // queue_lock held
    PendingSignal* entry = *at;
    *at = entry->next;
    if (pending_last == &entry->next) pending_last = at;
    entry->next = spare;
    spare = entry;
}

// queue_lock held.  The bit goes when no further one of that number is queued.
void settle_bit(Fiber* target, int signal) {
    for (PendingSignal* entry = pending_first; entry != nullptr; entry = entry->next)
        if (entry->target == target && entry->signal == signal) return;
    std::atomic<uint64_t>& bits = target == nullptr ? process_pending : thread_of(target)->pending;
    bits.fetch_and(~signal_bit(signal));
}

// queue_lock held.  Lowest number first, as the kernel does.
bool take_of(Fiber* target, uint64_t set, siginfo_t* info) {
    PendingSignal** best = nullptr;
    for (PendingSignal** at = &pending_first; *at != nullptr; at = &(*at)->next)
        if ((*at)->target == target && (set & signal_bit((*at)->signal)) != 0 &&
            (best == nullptr || (*at)->signal < (*best)->signal))
            best = at;
    if (best == nullptr) return false;
    const int signal = (*best)->signal;
    *info = (*best)->info;
    info->si_signo = signal;
    remove(best);
    settle_bit(target, signal);
    return true;
}

bool is_willing(Fiber* fiber, int signal) {
    const Thread* thread = thread_of(fiber);
    return ((thread->mask & signal_bit(signal)) == 0 ||
            (thread->waiting_for.load() & signal_bit(signal)) != 0) &&
           !thread->is_ending;
}

struct Choice {
    int signal;
    Fiber* fiber;
};

void consider(Fiber* fiber, void* argument) {
    auto* choice = static_cast<Choice*>(argument);
    const FiberState state = fiber->state.load();
    if (choice->fiber == nullptr && state != FiberState::kNew && state != FiberState::kFinished &&
        is_willing(fiber, choice->signal))
        choice->fiber = fiber;
}

}  // namespace

void interrupt_fiber(Fiber* fiber, Wake outcome) {
    const uint32_t sequence = fiber->park.open_sequence();
    if (sequence != 0 && wake({fiber, sequence}, outcome)) return;
    kick(fiber);
}

namespace {

// Asked again once the signal is queued: a thread that opened its mask meanwhile looked at the
// queue before or is seen with its new mask here.
bool wants(Fiber* fiber, int signal) {
    const Thread* thread = thread_of(fiber);
    const uint64_t bit = signal_bit(signal);
    return (static_cast<const volatile uint64_t&>(thread->mask) & bit) == 0 ||
           (thread->waiting_for.load() & bit) != 0;
}

void notify(Fiber* fiber) {
    fiber->attention.fetch_or(kAttendSignal);
    if (fiber != current_fiber()) interrupt_fiber(fiber, Wake::kSignal);
}

// As send_to_fiber(); ESRCH when it has ended.
int send_to_living(Fiber* fiber, int signal, const siginfo_t* info) {
    Thread* thread = thread_of(fiber);
    const uint64_t bit = signal_bit(signal);
    const bool waits = (thread->waiting_for.load() & bit) != 0;
    const bool blocked = (thread->mask & bit) != 0;
    if (!blocked && !waits) {
        if (is_ignored(signal)) return 0;
        if (is_default(signal)) {
            // The default action concerns the whole process: the kernel performs it.
            host::raw_sigprocmask(SIG_UNBLOCK, &bit, nullptr);
            host::raw_tgkill(host::raw_getpid(), host::raw_gettid(), signal);
            return 0;
        }
    }
    OptionalSection section;
    int rc;
    {
        LockGuard guard(queue_lock);
        rc = enqueue(fiber, signal, info);
    }
    if (rc == 0 && wants(fiber, signal)) notify(fiber);
    return rc;
}

}  // namespace

int send_to_fiber(Fiber* fiber, int signal, const siginfo_t* info) {
    const int rc = send_to_living(fiber, signal, info);
    return rc == ESRCH ? 0 : rc;  // as pthread_kill of a thread that waits to be joined
}

void send_to_process(int signal, const siginfo_t* info) {
    OptionalSection section;
    Choice choice{signal, nullptr};
    // The kernel prefers the first thread; so do programs that expect EINTR in main.
    if (main_fiber() != nullptr) consider(main_fiber(), &choice);
    Fiber* self = current_fiber();
    if (choice.fiber == nullptr && self != nullptr && !self->is_scheduler) consider(self, &choice);
    if (choice.fiber == nullptr) for_each_fiber(consider, &choice);
    while (choice.fiber != nullptr) {
        if (send_to_living(choice.fiber, signal, info) != ESRCH) return;
        choice.fiber = nullptr;
        for_each_fiber(consider, &choice);
    }
    {
        LockGuard guard(queue_lock);
        enqueue(nullptr, signal, info);
    }
    for_each_fiber(consider, &choice);
    if (choice.fiber != nullptr) notify(choice.fiber);
}

bool take_pending(Fiber* fiber, uint64_t set, siginfo_t* info) {
    if ((pending_for(fiber) & set) == 0) return false;
    RuntimeSection section(fiber);
    LockGuard guard(queue_lock);
    return take_of(fiber, set, info) || take_of(nullptr, set, info);
}

uint64_t pending_for(Fiber* fiber) {
    return thread_of(fiber)->pending.load() | process_pending.load();
}

void drop_pending(int signal) {
    OptionalSection section;
    LockGuard guard(queue_lock);
    for (PendingSignal** at = &pending_first; *at != nullptr;) {
        if ((*at)->signal != signal) {
            at = &(*at)->next;
            continue;
        }
        Fiber* target = (*at)->target;
        remove(at);
        settle_bit(target, signal);
    }
}

void queue_thread_ending(Fiber* fiber) {
    OptionalSection section;
    LockGuard guard(queue_lock);
    // What comes later would wait for the next thread on this block.
    thread_of(fiber)->takes_no_signals = true;
    if (thread_of(fiber)->pending.load() == 0) return;
    for (PendingSignal** at = &pending_first; *at != nullptr;) {
        if ((*at)->target == fiber)
            remove(at);
        else
            at = &(*at)->next;
    }
    thread_of(fiber)->pending.store(0);
}

void note_signal(int signal, const siginfo_t* info) {
    COUNT(signals_deferred);
    for (Note& note : notes) {
        int free = 0;
        if (!note.state.compare_exchange_strong(free, 1)) continue;
        note.signal = signal;
        note.info = *info;
        note.state.store(2);
        request_monitor(kServeSignals);
        return;
    }
    // 1,024 undelivered signals: a standard one would have merged with an earlier one by now.
}

void dispatch_noted_signals() {
    for (Note& note : notes) {
        if (note.state.load() != 2) continue;
        const siginfo_t info = note.info;
        const int signal = note.signal;
        note.state.store(0);
        // A thread-directed timer's signal landed in the runtime of some other fiber.
        Fiber* target = nullptr;
        const TimerSignal timer = timer_target(&info, &target);
        if (timer == TimerSignal::kFiber)
            send_to_fiber(target, signal, &info);
        else if (timer == TimerSignal::kProcess)
            send_to_process(signal, &info);
    }
}

void queue_after_fork() {
    queue_lock.reset();
    while (pending_first != nullptr) remove(&pending_first);
    pending_last = &pending_first;
    process_pending.store(0);
    for (Note& note : notes) note.state.store(0);
}

}  // namespace pfiber::shim
