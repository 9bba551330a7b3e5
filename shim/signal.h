// Signals on fibers: the kernel knows workers, the program knows fibers.
//
// Masks and pending directed signals are the fiber's.  A worker's kernel mask is what every live
// fiber blocks (so "all block, one sigwaits" works); a signal that the kernel delivers to a worker
// whose fiber does not want it is passed on: main first, as the kernel prefers the first thread,
// then any fiber that does not block it, else it stays pending for the process.
// Delivery to a fiber re-raises the signal at its own kernel thread once the fiber is outside the
// runtime, so that the handler gets a real frame, alternate stack and restart included.
// A signal that lands in the runtime is noted in a lock-free ring; the monitor hands it out.
//
// Before the first fiber exists all of this is the kernel's; handlers installed by then are taken
// over at the start.
#pragma once

#include <signal.h>

#include <cstdint>

#include "scheduler/fiber.h"

namespace pfiber {
struct Worker;
}

namespace pfiber::shim {

struct Thread;

constexpr uint64_t signal_bit(int signal) { return uint64_t{1} << (signal - 1); }
uint64_t mask_of(const sigset_t* set);
void mask_to(uint64_t mask, sigset_t* set);

void signals_start(Fiber* main);
void signals_after_fork(Fiber* survivor);
void signals_inherit(Thread* thread, Fiber* creator, const uint64_t* explicit_mask);
void signals_thread_started(Fiber* fiber);
void signals_thread_ending(Fiber* fiber);

// ---- masks (signal_mask.cc)

// The calling fiber's mask becomes `mask`; what it lets through now is delivered when the fiber
// leaves the runtime.  Outside the runtime.
void set_thread_mask(Fiber* fiber, uint64_t mask);
// What every live fiber blocks: the kernel mask of workers.
uint64_t process_mask();
void install_worker_mask(Worker* worker);
void renew_mask(Worker* worker, void* context);
// Installs a mask in the kernel for the calling kernel thread, e.g. before exec; returns the old.
uint64_t install_exact_mask(uint64_t mask);

// ---- sending (signal_queue.cc); 0 or an error number.  Outside the runtime, or in it.

int send_to_fiber(Fiber* fiber, int signal, const siginfo_t* info);
void send_to_process(int signal, const siginfo_t* info);  // as if the kernel had delivered it
// Ends the fiber's wait or call so that it looks at its attention word.
void interrupt_fiber(Fiber* fiber, Wake outcome);
// Takes a pending signal of `set` for the calling fiber: directed first, then the process's.
bool take_pending(Fiber* fiber, uint64_t set, siginfo_t* info);
uint64_t pending_for(Fiber* fiber);
// The monitor's part: distributes what landed in the runtime.
void dispatch_noted_signals();
void note_signal(int signal, const siginfo_t* info);  // lock-free; from a handler in the runtime
void drop_pending(int signal);                        // its disposition became "ignore"

// ---- dispositions and delivery (signal.cc)

long set_action(int signal, const struct sigaction* action, struct sigaction* old);
bool is_ignored(int signal);
bool is_default(int signal);
void deliver_pending(Fiber* fiber);

// ---- waiting (signal_wait.cc)

// Waits for one of `set`; returns its number or -errno (EAGAIN at the deadline, EINTR).
int wait_for_signal(Fiber* fiber, uint64_t set, siginfo_t* info, int64_t deadline_ns);
// Mask `mask` until a handler ran; returns -EINTR.
int suspend_with_mask(Fiber* fiber, uint64_t mask);

}  // namespace pfiber::shim
