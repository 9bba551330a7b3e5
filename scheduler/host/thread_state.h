// Whether a kernel thread of this process sleeps in the kernel: from the kernel's record of its
// context switches, or read from /proc where perf_event_open is refused.
//
// Both need a descriptor, and the program's next open must get the number that it would get without
// us; so a helper thread with a descriptor table of its own does it.  It is started at the first
// question and sleeps on a futex between questions.  A ring costs its thread some 0.8 µs per
// context switch, so only threads that gave reason for it get one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pfiber::host {

enum class ThreadState { kRuns, kSleeps, kUnknown };

// Whether kernel thread `tid` is in state S or D; unknown without /proc, or when the kernel refuses
// the helper.  One caller at a time, the monitor; takes some ten microseconds.  `open_signal` is
// the one that the helper does not block: a change of credentials asks every kernel thread by it.
ThreadState kernel_thread_state(int tid, int open_signal);

// The last context switches of one kernel thread (PERF_RECORD_SWITCH), written by the kernel into
// memory that both see.
struct SwitchRing {
    int tid = 0;  // whose; 0: nobody's
    void* memory = nullptr;
};
// False: perf is refused (for good: then it is not asked again), or there is no memory for one more
// ring.  The ring's former memory is given back.  The monitor only.
bool switch_ring_open(SwitchRing* ring, int tid, int open_signal);
// How much was recorded so far; it has changed when the thread has switched.
uint64_t switch_ring_position(const SwitchRing& ring);
// At `position` the thread left its CPU of its own will, and has not come back.
bool switch_ring_is_asleep(const SwitchRing& ring, uint64_t position);

int thread_state_helper();  // its kernel thread; 0: none, -1: it is being started

void thread_state_after_fork();

}  // namespace pfiber::host
