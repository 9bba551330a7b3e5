// Pending signals: directed at a fiber, at the process, and those that landed in the runtime.
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "scheduler/base/counters.h"
#include "scheduler/host/call_filter.h"
#include "scheduler/scheduler.h"
#include "shim/inspect.h"
#include "shim/signal.h"
#include "shim/thread.h"
#include "shim/timer_target.h"

namespace pfiber::shim {

namespace {

Lock queue_lock;  // a leaf beside the scheduler's lock order: nothing is taken under it
PendingSignal* spare;

}  // namespace

// What one owner (a thread, or the process) has pending: a run for each number, lowest first, each
// in the order of arrival; `bits` has the numbers.  queue_lock guards both.
struct PendingSignal {
    PendingSignal* next_run;  // these two in the first of a run only
    PendingSignal* last_same;
    PendingSignal* next_same;
    siginfo_t info;
};

namespace {

struct Queue {
    PendingSignal*& runs;
    Platform::Atomic<uint64_t>& bits;
};
PendingSignal* process_runs;
Platform::Atomic<uint64_t> process_bits{0};
std::atomic<uint64_t> kernel_keeps{0};
std::atomic<uint64_t> queued{0};  // written with queue_lock held
Queue process_queue() { return {process_runs, process_bits}; }
Queue queue_of(Fiber* fiber) { return {thread_of(fiber)->queued, thread_of(fiber)->pending}; }

// Signals that landed in the runtime, in the order of arrival.  Each slot: 0 free, 1 being written,
// 2 ready.  Handlers move the head, the monitor the tail.
constexpr uint64_t kNotes = 1024;
struct Note {
    std::atomic<int> state{0};
    int signal = 0;
    siginfo_t info = {};  // all constant: nothing is written at load
};
Note notes[kNotes];
std::atomic<uint64_t> notes_head{0}, notes_tail{0};
Lock notes_lock;  // of the distributor; outermost, nobody waits for it with another lock held

PendingSignal* new_entry() {  // queue_lock held
    if (spare == nullptr) {
        constexpr size_t kChunk = 64 * 1024;
        const long memory = host::raw_mmap(nullptr, kChunk, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (host::is_error(memory)) return nullptr;
        auto* entries = reinterpret_cast<PendingSignal*>(memory);
        for (size_t i = 0; i < kChunk / sizeof(PendingSignal); i++) {
            entries[i].next_same = spare;
            spare = &entries[i];
        }
    }
    PendingSignal* entry = spare;
    spare = entry->next_same;
    return entry;
}

bool is_real_time(int signal) { return signal >= 32; }

// queue_lock held.  EAGAIN when there is no memory for one more.
int push(Queue queue, int signal, const siginfo_t* info) {
    PendingSignal** at = &queue.runs;
    while (*at != nullptr && (*at)->info.si_signo < signal) at = &(*at)->next_run;
    const bool is_first = *at == nullptr || (*at)->info.si_signo != signal;
    if (!is_first && !is_real_time(signal)) return 0;  // one at a time
    PendingSignal* entry = new_entry();
    if (entry == nullptr) return EAGAIN;
    queued.store(queued.load() + 1);
    entry->info = *info;
    entry->info.si_signo = signal;
    entry->next_same = nullptr;
    if (is_first) {
        entry->next_run = *at;
        entry->last_same = entry;
        *at = entry;
        queue.bits.fetch_or(signal_bit(signal));
    } else {
        (*at)->last_same->next_same = entry;
        (*at)->last_same = entry;
    }
    return 0;
}

// queue_lock held.  The first of the lowest number in `set`, as the kernel takes them.
bool pop(Queue queue, uint64_t set, siginfo_t* info) {
    PendingSignal** at = &queue.runs;
    while (*at != nullptr && (set & signal_bit((*at)->info.si_signo)) == 0) at = &(*at)->next_run;
    PendingSignal* entry = *at;
    if (entry == nullptr) return false;
    *info = entry->info;
    if (PendingSignal* next = entry->next_same; next != nullptr) {
        next->next_run = entry->next_run;
        next->last_same = entry->last_same;
        *at = next;
    } else {
        *at = entry->next_run;
        queue.bits.fetch_and(~signal_bit(info->si_signo));
    }
    entry->next_same = spare;
    spare = entry;
    queued.store(queued.load() - 1);
    return true;
}

void discard(Queue queue, uint64_t set) {
    siginfo_t info;
    LockGuard guard(queue_lock);
    while (pop(queue, set, &info)) {
    }
}

bool is_willing(Fiber* fiber, int signal) {
    const Thread* thread = thread_of(fiber);
    return ((thread->mask & signal_bit(signal)) == 0 ||
            (thread->waiting_for.load() & signal_bit(signal)) != 0) &&
           !thread->takes_no_signals;
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

// The default action concerns the whole process: the kernel performs it.
bool acts_by_default(int signal) {
    if (is_ignored(signal)) return true;
    if (!is_default(signal)) return false;
    if (signal == SIGQUIT) unwatch_quit();
    const uint64_t bit = signal_bit(signal);
    host::raw_sigprocmask(SIG_UNBLOCK, &bit, nullptr);
    host::raw_tgkill(host::raw_getpid(), host::raw_gettid(), signal);
    return true;
}

// The kernel prefers the first thread; so do programs that expect EINTR in main.
Fiber* willing_fiber(int signal) {
    Choice choice{signal, nullptr};
    if (main_fiber() != nullptr) consider(main_fiber(), &choice);
    Fiber* self = current_fiber();
    if (choice.fiber == nullptr && self != nullptr && !self->is_scheduler) consider(self, &choice);
    if (choice.fiber == nullptr) for_each_fiber(consider, &choice);
    return choice.fiber;
}

// Everybody blocks them, and somebody looks for them in the kernel.
void give_to_kernel(Queue queue, uint64_t set) {
    set &= process_mask() & kernel_keeps.load();
    while ((queue.bits.load() & set) != 0) {
        siginfo_t info;
        {
            LockGuard guard(queue_lock);
            if (!pop(queue, set, &info)) return;
        }
        const long rc =
            host::raw_syscall(SYS_rt_sigqueueinfo, host::raw_getpid(), info.si_signo, &info);
        if (rc == 0) continue;
        // The kernel's own limit of queued signals.
        LockGuard guard(queue_lock);
        push(queue, info.si_signo, &info);
        return;
    }
}

}  // namespace

int send_to_fiber(Fiber* fiber, int signal, const siginfo_t* info) {
    const Thread* thread = thread_of(fiber);
    const uint64_t bit = signal_bit(signal);
    const bool waits = (thread->waiting_for.load() & bit) != 0;
    if ((thread->mask & bit) == 0 && !waits && acts_by_default(signal)) return 0;
    OptionalSection section;
    int rc = 0;
    {
        LockGuard guard(queue_lock);
        // As pthread_kill of a thread that waits to be joined.
        if (thread->takes_no_signals) return 0;
        rc = push(queue_of(fiber), signal, info);
    }
    if (rc == 0 && wants(fiber, signal))
        notify(fiber);
    else if ((kernel_keeps.load() & bit) != 0)
        give_to_kernel(queue_of(fiber), bit);
    return rc;
}

// It is queued before a thread is chosen, so that one which opens its mask, blocks it or ends
// meanwhile either is seen here or finds it in the queue (S7).
void send_to_process(int signal, const siginfo_t* info) {
    OptionalSection section;
    if (willing_fiber(signal) != nullptr && acts_by_default(signal)) return;
    {
        LockGuard guard(queue_lock);
        push(process_queue(), signal, info);
    }
    hand_out(signal_bit(signal));
}

void hand_out(uint64_t set) {
    set &= process_bits.load();
    for (uint64_t left = set; left != 0; left &= left - 1) {
        const int signal = __builtin_ctzll(left) + 1;
        if (Fiber* fiber = willing_fiber(signal); fiber != nullptr) {
            notify(fiber);
            set &= ~signal_bit(signal);
        }
    }
    give_to_kernel(process_queue(), set);
}

void kernel_keeps_pending(uint64_t set) {
    OptionalSection section;
    kernel_keeps.fetch_or(set);
    hand_out(set);
    if (Fiber* self = current_fiber()) give_to_kernel(queue_of(self), set);
}

bool take_pending(Fiber* fiber, uint64_t set, siginfo_t* info) {
    if ((pending_for(fiber) & set) == 0) return false;
    RuntimeSection section(fiber);
    LockGuard guard(queue_lock);
    return pop(queue_of(fiber), set, info) || pop(process_queue(), set, info);
}

bool take_deliverable(Fiber* fiber, uint64_t of_main, siginfo_t* info) {
    const uint64_t set = deliverable_to(fiber, of_main);
    if (set == 0) return false;
    RuntimeSection section(fiber);
    LockGuard guard(queue_lock);
    return pop(queue_of(fiber), ~thread_of(fiber)->mask, info) || pop(process_queue(), set, info);
}

bool take_queued_before(int signal, siginfo_t* info) {
    if (!is_real_time(signal) || (process_bits.load() & signal_bit(signal)) == 0) return false;
    LockGuard guard(queue_lock);
    return push(process_queue(), signal, info) == 0 &&
           pop(process_queue(), signal_bit(signal), info);
}

uint64_t signals_queued() { return queued.load(); }

uint64_t pending_for(const Fiber* fiber) {
    return thread_of(fiber)->pending.load() | process_bits.load();
}

uint64_t pending_for_process() { return process_bits.load(); }

uint64_t deliverable_to(const Fiber* fiber, uint64_t of_main) {
    const Thread* thread = thread_of(fiber);
    if (thread->takes_no_signals) return 0;
    uint64_t of_process = process_bits.load();
    const Fiber* main = main_fiber();
    if (of_process != 0 && main != nullptr && fiber != main && !thread_of(main)->takes_no_signals)
        of_process &= static_cast<const volatile uint64_t&>(thread_of(main)->mask) | of_main;
    return (thread->pending.load() | of_process) & ~thread->mask;
}

void drop_pending(int signal) {
    OptionalSection section;
    const uint64_t bit = signal_bit(signal);
    discard(process_queue(), bit);
    for_each_fiber(
        [](Fiber* fiber, void* argument) {
            const uint64_t dropped = *static_cast<const uint64_t*>(argument);
            if ((thread_of(fiber)->pending.load() & dropped) != 0)
                discard(queue_of(fiber), dropped);
        },
        const_cast<uint64_t*>(&bit));
}

void queue_thread_ending(Fiber* fiber) {
    {
        LockGuard guard(queue_lock);
        // What comes later would wait for the next thread on this block.
        thread_of(fiber)->takes_no_signals = true;
    }
    discard(queue_of(fiber), ~uint64_t{0});
    hand_out(~uint64_t{0});
}

void note_signal(int signal, const siginfo_t* info) {
    COUNT(signals_deferred);
    for (;;) {
        uint64_t head = notes_head.load();
        Note& note = notes[head % kNotes];
        if (head - notes_tail.load() >= kNotes || note.state.load() != 0) break;
        if (!notes_head.compare_exchange_strong(head, head + 1)) continue;
        note.state.store(1);
        note.signal = signal;
        note.info = *info;
        note.state.store(2);
        request_monitor(kServeSignals);
        return;
    }
    // The monitor is 1,024 signals behind: the kernel delivers it once more.
    siginfo_t again = *info;
    host::raw_syscall(SYS_rt_sigqueueinfo, host::raw_getpid(), signal, &again);
}

void note_overdue_signals() {
    const uint64_t set = signals_handled() & ~process_mask();
    if (set == 0) return;
    OptionalSection section;
    const timespec now{0, 0};
    siginfo_t info;
    // No longer than a storm of them lets it: one of each is what a caller may count on.
    for (int i = 0; i < 64 && host::optional_syscall(host::kSigtimedwait, SYS_rt_sigtimedwait, &set,
                                                     &info, &now, 8) > 0;
         i++)
        note_signal(info.si_signo, &info);
}

bool signals_are_noted() { return notes_head.load() != notes_tail.load(); }

namespace {

// While the ring is full each further signal goes back to the kernel, which delivers it again
// before the next instruction: whoever holds the lock would never come to empty the ring.
class NoSignals {
  public:
    NoSignals() {
        constexpr uint64_t kAll = ~uint64_t{0};
        host::raw_sigprocmask(SIG_SETMASK, &kAll, &before_);
    }
    ~NoSignals() { host::raw_sigprocmask(SIG_SETMASK, &before_, nullptr); }
    NoSignals(const NoSignals&) = delete;
    NoSignals& operator=(const NoSignals&) = delete;

  private:
    uint64_t before_ = 0;
};

}  // namespace

void dispatch_noted_signals() {
    OptionalSection section;
    const NoSignals quiet;
    LockGuard guard(notes_lock);
    for (uint64_t tail = notes_tail.load(); notes[tail % kNotes].state.load() == 2; tail++) {
        Note& note = notes[tail % kNotes];
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
        notes_tail.store(tail + 1);
    }
}

void queue_after_fork(Fiber* survivor) {
    queue_lock.reset();
    notes_lock.reset();
    spare = process_runs = nullptr;  // what the parent had queued is not worth walking
    thread_of(survivor)->queued = nullptr;
    thread_of(survivor)->pending.store(0);
    process_bits.store(0);
    queued.store(0);
    // Only those in use: what a fork's child writes to, it copies.
    for (uint64_t i = notes_tail.load(); i < notes_head.load(); i++)
        notes[i % kNotes].state.store(0);
    notes_head.store(0);
    notes_tail.store(0);
}

}  // namespace pfiber::shim
