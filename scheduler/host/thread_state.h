// Whether a kernel thread of this process sleeps in the kernel, read from /proc.
//
// The look needs a descriptor, and the program's next open must get the number that it would get
// without us; so a helper thread with a descriptor table of its own does it.  It is started at the
// first question and sleeps on a futex between questions.
#pragma once

namespace pfiber::host {

// Kernel thread `tid` is in state S or D.  False when that cannot be told.  One caller at a time,
// the monitor; takes some ten microseconds.  `open_signal` is the one that the helper does not
// block: a change of credentials asks every kernel thread by it.
bool is_asleep_in_kernel(int tid, int open_signal);

int thread_state_helper();  // its kernel thread; 0: none, -1: it is being started

void thread_state_after_fork();

}  // namespace pfiber::host
