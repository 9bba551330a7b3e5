// set*id for the whole process: POSIX gives all threads one set of credentials, the kernel keeps
// them per kernel thread.  glibc's own broadcast live-locks when it is called on a fiber, so this
// one asks every kernel thread of the process by the preemption signal to make the call itself.
#pragma once

namespace pfiber::shim {

// Makes the call on the calling thread and, if it succeeds, on every other one.  0 or -errno.
// Outside the runtime, on a fiber.
long set_credentials(long number, long a, long b, long c);

// The same call on one kernel thread after the other of those that forked, until one does not say
// ESRCH: to the kernel a child's parent is a thread, and the fiber that forked may be on another by
// now.  Its result, or -ESRCH.  Outside the runtime, on a fiber.
long call_as_parent(long number, long a, long b, long c, long d);

// A kernel thread looks whether it is asked; in the preemption handler, any context.
void credentials_check();
// The monitor blocks signals and looks when it is requested.
void credentials_serve();

}  // namespace pfiber::shim
