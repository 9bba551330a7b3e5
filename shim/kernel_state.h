// What the kernel keeps per kernel thread and a fiber has for itself: affinity, policy, nice value,
// I/O priority, namespaces, capabilities.  A fiber that changes it is bound to its worker for good,
// which ends with it (Go: LockOSThread and its taint); a thread that it creates gets a worker
// cloned from that one, so it inherits as a native thread does.
//
// Others may change some of it for a fiber (pthread_setaffinity_np).  While that fiber is not bound
// the change is noted and the fiber, which is made to look (kAttendState), carries it out before it
// runs on in its own code; whoever asks meanwhile is told the noted value.
//
// Results are 0 or a value, else -errno as the kernel gives it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "scheduler/host/syscall.h"
#include "scheduler/runtime.h"

namespace pfiber::shim {

struct ThreadAttributes;

// Binds the calling fiber around its first change; a change that fails leaves it as it was.
class KernelStateChange {
  public:
    explicit KernelStateChange(Fiber* self);  // null: nothing to do
    long done(long answer);                   // passes the kernel's answer on

  private:
    Fiber* self_;
    bool is_first_;
};

// One system call that changes the caller's own state; outside the runtime.
template <class... A>
long change_own_state(Fiber* self, long number, A... arguments) {
    KernelStateChange change(self);
    return change.done(host::raw_syscall(number, arguments...));
}

// Of any live fiber.  `size` bytes of a CPU mask; priority as in sched_param; nice -20..19; `value`
// as for ioprio_set(2).
long change_affinity(Fiber* fiber, size_t size, const void* mask);
long change_policy(Fiber* fiber, int policy, int priority);
long change_nice(Fiber* fiber, int nice);
long change_io_priority(Fiber* fiber, int value);

// What was noted for it, else what its kernel thread has.
long read_affinity(Fiber* fiber, size_t size, void* mask);  // the bytes written, as the kernel
long read_nice(Fiber* fiber);                               // as the system call: 20 - nice
long read_io_priority(Fiber* fiber);
int kernel_thread_of(Fiber* fiber);  // what stands for it in other questions to the kernel

// A fiber that was not spawned yet, created by the calling thread: bound to a kernel thread of its
// own when its attributes or its creator ask for one.  0 or an error number of pthread_create.
int kernel_state_of_new(Fiber* fiber, const ThreadAttributes& wanted);

// A raw call about the thread with an id: sched_setattr, sched_getattr, ioprio_set, ioprio_get,
// sched_rr_get_interval, sched_getaffinity, getpriority.  False: it is none, or about another
// thread than a fiber.
bool thread_id_call(Fiber* self, long number, const long* arguments, long* answer);

void attend_kernel_state(Fiber* self);  // carries out what was noted
void kernel_state_forget(Fiber* self);  // it ends
void kernel_state_after_fork();

}  // namespace pfiber::shim
