// System calls that programs make by number through syscall(2).
#pragma once

namespace pfiber {
struct Fiber;
}

namespace pfiber::interpose {

// Serves call `number` with its six arguments as the hook of that name does; *answer is in the
// kernel's form.  False: it is none that waits, makes or closes descriptors.
bool serve_raw_call(long number, const long* arguments, long* answer);

// fork, clone and clone3 by number (process.cc).  The child of a fiber starts like that of fork().
long raw_fork_call(Fiber* fiber, long number, const long* arguments);

// execve and execveat, however they were called (process.cc), in the kernel's form.  `arguments`
// are five.
long execute_call(long number, const long* arguments);

// rt_sigqueueinfo and rt_tgsigqueueinfo (signals.cc).  False: it is neither, or the kernel's.
bool serve_queue_call(long number, const long* arguments, long* answer);

// syscall(2) about what the kernel keeps per thread, or with a thread's id.  False: it is none.
bool serve_thread_call(long number, const long* arguments, long* answer);

}  // namespace pfiber::interpose
