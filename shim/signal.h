// Signals on fibers: the kernel knows workers, the program knows fibers.
//
// Masks and pending directed signals are the fiber's.  A worker's kernel mask is what every live
// fiber blocks (so "all block, one sigwaits" works); a signal that the kernel delivers to a worker
// whose fiber does not want it is passed on: main first, as the kernel prefers the first thread,
// then any fiber that does not block it, else it stays pending for the process.
// A process-directed signal stays in the process's queue; a willing fiber is told, and whoever is
// willing when it looks takes it.
// Delivery to a fiber re-raises the signal at its own kernel thread once the fiber is outside the
// runtime, so that the handler gets a real frame, alternate stack and restart included.
// A signal that lands in the runtime is noted in a lock-free ring; the monitor hands it out.
//
// Before the first fiber exists all of this is the kernel's; handlers installed by then are taken
// over at the start.
#pragma once

#include <signal.h>

#include <atomic>
#include <cstdint>

#include "scheduler/fiber.h"

namespace pfiber {
struct Worker;
}

namespace pfiber::shim {

struct Thread;

constexpr uint64_t signal_bit(int signal) { return uint64_t{1} << (signal - 1); }
// The kernel's word and libc's set: bit (signal - 1).
uint64_t mask_of(const sigset_t* set);
void mask_to(uint64_t mask, sigset_t* set);

void signals_start(Fiber* main);           // at the start of the runtime, on the main thread
void signals_after_fork(Fiber* survivor);  // in the child, on the fiber that forked
// A thread is being made: its mask is `explicit_mask`, the creator's, or that of a foreign creator.
void signals_inherit(Thread* thread, Fiber* creator, const uint64_t* explicit_mask);
// On the fiber itself, outside the runtime: before its first instruction, after its last; the
// second is for what came until now.
void signals_thread_started(Fiber* fiber);
void signals_handle_pending(Fiber* fiber);
void signals_thread_ending(Fiber* fiber);

// ---- masks (signal_mask.cc)

// The calling fiber's mask becomes `mask`; what it lets through now is delivered when the fiber
// leaves the runtime.  Outside the runtime.
void set_thread_mask(Fiber* fiber, uint64_t mask);
// The part of it that a handler's entry and end do for themselves, in the runtime: the fiber's mask
// changes, no worker is told.  Returns what every live fiber blocks now and did not before.
uint64_t change_mask(Fiber* fiber, uint64_t mask);
// Every other worker has the present process mask, or was in a system call for 5 ms (S5).  In the
// runtime.
void renew_other_masks(Worker* own);
// Until every signal of this set that the kernel has given to another worker so far is queued, or
// its handler chosen: each is kicked, and answers when its frames are gone (one in a system call
// that signals do not end gets 5 ms, one without a CPU a second).  On a fiber, in the runtime.
void await_entries(Worker* own, uint64_t signals);
// What every live fiber blocks: the kernel mask of workers.
uint64_t process_mask();
// Makes the process mask the calling worker's, whatever the kernel has at the moment.
void open_worker_mask(Worker* worker);
void install_worker_mask(Worker* worker);  // before it runs program code, where it has an older one
// In the preemption handler, any context: what sigreturn will install.
void renew_mask(Worker* worker, void* context);
// Another mask in the kernel for the calling kernel thread alone, and then its worker's again.
void install_exact_mask(uint64_t mask);
void reinstall_worker_mask(const Worker* worker);

// ---- sending (signal_queue.cc); 0 or an error number.  Outside the runtime, or in it.

int send_to_fiber(Fiber* fiber, int signal, const siginfo_t* info);
void send_to_process(int signal, const siginfo_t* info);  // as if the kernel had delivered it
// Ends the fiber's wait or call so that it looks at its attention word.
void interrupt_fiber(Fiber* fiber, Wake outcome);
// Takes a pending signal of `set` for the calling fiber: directed first, then the process's.
bool take_pending(Fiber* fiber, uint64_t set, siginfo_t* info);
// A process-directed real-time signal is about to be handled while earlier ones of its number are
// queued: it goes behind them and *info becomes the first.  False: there are none.
bool take_queued_before(int signal, siginfo_t* info);
// For each signal of `set` pending on the process: tells a willing thread.  In the runtime.
void hand_out(uint64_t set);
// From now on those of `set` that everybody blocks are the kernel's to keep: a signalfd, or the
// program after an exec, finds them there, also those directed at one thread.
void kernel_keeps_pending(uint64_t set);
uint64_t pending_for(const Fiber* fiber);
uint64_t pending_for_process();
// Those that the calling fiber is to handle now.  What was sent to the process is main's while main
// lets it through, however long main waits for its turn: programs expect EINTR there (S7).
// `of_main`: which it takes although they are.
uint64_t deliverable_to(const Fiber* fiber, uint64_t of_main = 0);
// Takes one of these.
bool take_deliverable(Fiber* fiber, uint64_t of_main, siginfo_t* info);
uint64_t signals_queued();  // all that are pending here, about
// Distributes what landed in the runtime: the monitor's part, and of whoever asks what is pending.
void dispatch_noted_signals();
void note_signal(int signal, const siginfo_t* info);  // lock-free; from a handler in the runtime
bool signals_are_noted();                             // and not distributed yet
// Notes what the kernel chose another thread for that did not run since.
void note_overdue_signals();
void drop_pending(int signal);  // its disposition became "ignore"

// ---- dispositions (signal.cc)

// What the program believes; the kernel has signal_entry() for those with a handler.
struct Action {
    void* handler = nullptr;  // SIG_DFL, SIG_IGN or the program's function
    unsigned long flags = 0;
    uint64_t mask = 0;
    void (*restorer)() = nullptr;
};
bool is_handler(const void* handler);  // neither SIG_DFL nor SIG_IGN
// Our handler is installed for it also when the program has none (scheduler/host/touch.h).
inline std::atomic<uint64_t> watched_signals{uint64_t{1} << (SIGSEGV - 1) | uint64_t{1}
                                                                                << (SIGBUS - 1)};
inline bool is_watched(int signal) {
    return (watched_signals.load(std::memory_order_relaxed) & signal_bit(signal)) != 0;
}
// From now on also for this one: a timer's, for a thread that may block it when others do not.
void watch_signal(int signal);
bool has_handler(int signal);
uint64_t signals_handled();  // for which the program had a handler at some time
// Takes the action of a signal that is about to run; SA_RESETHAND falls back to the default.  In
// the runtime.
Action claim_action(int signal);
// sigaction(2) with valid pointers or null: 0 or -errno.  Any thread, outside the runtime.
long set_action(int signal, const struct sigaction* action, struct sigaction* old);
bool is_ignored(int signal);  // SIG_IGN, or SIG_DFL of one that the kernel ignores then
bool is_default(int signal);

// ---- delivery (signal_entry.cc)

// The kernel's handler of every signal that the program has one for; with everything blocked.
void signal_entry(int signal, siginfo_t* info, void* context);
// The same for the preemption signal's number when it was no kick.
void entry_of_preemption_signal(Fiber* fiber, siginfo_t* info, void* context);
// Hands one signal of the fiber to the kernel, which delivers it when the preemption handler
// returns to `context`: its frame shows the program's registers, and its return restores them.  A
// collector reads them, Mono aborts a thread by changing them.  False: deliver_pending() has to.
bool raise_on_return(Fiber* fiber, const void* context);
// Runs the handlers of what is deliverable_to() it.  Outside the runtime.
void deliver_pending(Fiber* fiber, uint64_t of_main = 0);
// What was sent to the process before now has been given to a thread; the calling one runs its
// handlers.  For whoever saw what came after a signal: a child's end.  Kicks every kernel thread.
// On a fiber, outside the runtime.
void handle_signals_until_now(Fiber* fiber);
// The same for a wait in the kernel that somebody ended: no kicks, so a kernel thread that has just
// taken a signal may still be about to pass it on.  What is another fiber's has some milliseconds
// to begin there.
void handle_signals_before_end(Fiber* fiber);

// ---- waiting (signal_wait.cc)

// Waits for one of `set`; returns its number or -errno (EAGAIN at the deadline, EINTR).
int wait_for_signal(Fiber* fiber, uint64_t set, siginfo_t* info, int64_t deadline_ns);
// Mask `mask` until a handler ran; returns -EINTR.
int suspend_with_mask(Fiber* fiber, uint64_t mask);

}  // namespace pfiber::shim
