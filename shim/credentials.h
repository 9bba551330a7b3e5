// set*id for the whole process: POSIX gives all threads one set of credentials, the kernel keeps
// them per kernel thread.  glibc's own broadcast live-locks when it is called on a fiber, so this
// one asks every kernel thread of the process by the preemption signal to make the call itself.
#pragma once

namespace pfiber::shim {

// Makes the call on the calling thread and, if it succeeds, on every other one.  0 or -errno.
// Outside the runtime, on a fiber.
long set_credentials(long number, long a, long b, long c);

// A kernel thread looks whether it is asked; in the preemption handler, any context.
void credentials_check();
// The monitor blocks signals and looks when it is requested.
void credentials_serve();

}  // namespace pfiber::shim
