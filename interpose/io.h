// What every body of a blocking or descriptor-related call shares.
//
// Three forms of a call:
//   READY     ready_call(): try without blocking, on EAGAIN park on the descriptor, again.
//   MAYBE     maybe_call(), short_call(): the processor is marked and retaken when the call lasts.
//   BLOCKING  blocking_call(), long_call(): the processor is handed off first.
// All of them are plain system calls when calling_fiber() is null.  Bodies never call libc, never
// allocate, set errno only on failure and hold no object whose destructor must not run when a
// cancellation unwinds them.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "interpose/clocks.h"
#include "interpose/regions.h"
#include "scheduler/host/call_filter.h"
#include "scheduler/host/signal.h"
#include "scheduler/host/syscall.h"
#include "scheduler/host/touch.h"
#include "scheduler/runtime.h"
#include "scheduler/runtime_descriptors.h"
#include "shim/interrupt.h"

namespace pfiber::interpose {

using host::can_read;
using host::can_read_if_given;
using host::can_write;

// The kernel reads 8 bytes of it.
inline bool can_read_mask(const sigset_t* mask) { return mask == nullptr || can_read(mask, 8); }

// The program did not open it: for every call of the program the number is closed.
inline bool is_hidden(int fd) { return is_runtime_descriptor(fd) || is_private_descriptor(fd); }

// ---- descriptors

// What it is: cached, asked of the kernel once.  kUnknown: not open (or the runtime's own).
DescriptorKind kind_of(Descriptor* descriptor, int fd);
DescriptorKind classify(Descriptor* descriptor, int fd);  // asks anew
// Whether to try RWF_NOWAIT.
inline bool may_try_nowait(const Descriptor* descriptor, uint8_t direction) {
    static_assert(kRead == uint32_t{host::kReadNoWait} && kWrite == uint32_t{host::kWriteNoWait});
    return (descriptor->no_nowait & direction) == 0 && !host::is_filtered(direction);
}
// One of SOL_SOCKET's, asked for ourselves; -EPERM also where a filter of the program's would not
// let us (call_filter.h).
long socket_option(int fd, int option, void* value, unsigned size);
// SOCK_STREAM …, AF_INET …; 0: no socket.
int socket_type_of(Descriptor* descriptor, int fd);
int socket_family_of(Descriptor* descriptor, int fd);
// The program set O_NONBLOCK (not we, for the moment of a connect).  In the runtime.
bool is_nonblocking(Descriptor* descriptor, int fd);
// Marks the flag as unknown: before F_SETFL, FIONBIO.
void forget_flags(int fd);
// Only this process can change its flags, and O_NONBLOCK is known to be clear.
inline bool is_surely_blocking(const Descriptor* descriptor) {
    return descriptor->is_blocking && descriptor->made_here && !descriptor->is_shared;
}
// After a receive that took a notification back and gave less than asked for, with nothing special
// about it: whether that proves the socket drained, so that the notification is used up (B4).
bool short_read_drains(Descriptor* descriptor, int fd);
void forget_short_reads(int fd);  // urgent data, kernel TLS: they never prove it again
// SO_RCVTIMEO or SO_SNDTIMEO; 0: none.  In the runtime.
int64_t socket_timeout(Descriptor* descriptor, int fd, uint8_t direction);
// A descriptor this process just made.  Any thread; on failure nothing happens.
void note_opened(long fd, DescriptorKind kind, bool made_here);
void note_shared(long fd);                              // as descriptor_shared()
void note_closing(int fd);                              // as descriptor_closing()
void note_closing_span(unsigned first, unsigned last);  // inclusive
// The lowest number from `first` on that is_hidden(); -1: none.
long next_hidden(unsigned first);
// poll(2) of one descriptor without waiting: revents, 0 when nothing.
short poll_now(int fd, short events);

// ---- waiting

// A bound fiber's kernel thread has nothing else to do: to wait there costs one call, to park two
// wake-ups and a processor's way there and back.  For waits whose region hands the processor off.
// Not under a mask of the call's own: between the look for handlers and the call one more can run.
inline bool waits_in_kernel(const Fiber* fiber, bool is_masked) {
    return fiber->locked_worker != nullptr && !is_masked;
}

// What came of a wait.
enum class Step : uint8_t {
    kRetry,        // try again
    kTimedOut,     // the deadline
    kNonBlocking,  // the program asked for EAGAIN
    kInterrupted,  // leave the runtime, then resume() decides
    kUnpollable,   // epoll does not take it, or the fiber runs beside: make the call in a region
};

Step step_of(Wake outcome);  // what the end of a park means for the call

// One call on one descriptor that may wait several times.
class Waiting {
  public:
    // `state` is descriptor_of(number), not null.
    Waiting(Fiber* fiber, int number, Descriptor* state, uint8_t direction)
        : fd(number),
          descriptor(state),
          fiber_(fiber),
          mark_(shim::interrupt_mark(fiber)),
          direction_(direction) {}
    ~Waiting() {
        if (is_private_) release();
    }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

    // Before the first try: the last receive drained the socket and no event came since (B4).  A
    // descriptor in non-blocking mode is always tried: its program may know more than our poller.
    bool is_drained() const {
        return descriptor->short_reads.load(std::memory_order_relaxed) == ShortReads::kDrain &&
               is_surely_blocking(descriptor) &&
               (descriptor->ready.load(std::memory_order_acquire) & direction_) == 0;
    }
    // Before a try and after one that succeeded; in the runtime.
    bool clear() { return io_clear_ready(descriptor, direction_); }
    void restore(bool had, long bytes = 0) {
        if (had) io_restore_ready(descriptor, direction_);
        io_took_turn(fiber_, bytes);
    }

    // In the runtime, after a try that would block.
    Step wait(WaitReason reason = WaitReason::kIo);
    // Outside the runtime, after kInterrupted: true when the call ends with EINTR.  A pending
    // cancellation does not return.
    bool interrupted(Restart restart);

    bool is_timed() const { return deadline_ns_ != kNever; }
    // Replaces the socket's timeout.
    void set_deadline(int64_t deadline_ns) {
        deadline_ns_ = deadline_ns;
        has_deadline_ = true;
    }
    void never_nonblocking() { asked_flags_ = true; }  // waits whatever O_NONBLOCK says

    int fd;  // changes when the number is closed while the call waits
    Descriptor* descriptor;

  private:
    void release();
    void go_on_with(int duplicate);

    Fiber* fiber_;
    shim::InterruptMark mark_;
    int64_t deadline_ns_ = kNever;
    uint8_t direction_;
    bool is_private_ = false;
    bool has_deadline_ = false;
    bool asked_flags_ = false;
};

// READY for what cannot be tried without blocking: poll first, then call in a region.  raw(fd) is
// the plain call, for descriptors in non-blocking mode; call(fd) the one in a region.
template <class Raw, class Call>
long polled_call(Fiber* fiber, Waiting& waiting, short events, Raw&& raw, Call&& call) {
    for (;;) {
        RuntimeSection::enter(fiber);
        const bool had = waiting.clear();
        Step step = Step::kRetry;
        const bool is_ready = poll_now(waiting.fd, events) != 0;
        if (!is_ready) step = waiting.wait();
        RuntimeSection::leave(fiber);
        if (is_ready) {
            const long answer = call(waiting.fd);
            if (had) {
                RuntimeSection::enter(fiber);
                waiting.restore(true);
                RuntimeSection::leave(fiber);
            }
            return answer;
        }
        switch (step) {
            case Step::kRetry:
                break;
            case Step::kTimedOut:
                return -EAGAIN;
            case Step::kNonBlocking:
                return raw(waiting.fd);
            case Step::kInterrupted:
                if (waiting.interrupted(waiting.is_timed() ? Restart::kNo : Restart::kYes))
                    return -EINTR;
                break;
            case Step::kUnpollable:
                return call(waiting.fd);
        }
    }
}

// Calls whose success says nothing about what is left.
struct NeverDrains {
    static bool at_start(const Waiting&) { return false; }
    static bool after(const Waiting&, long) { return false; }
};

// The READY form.  attempt(fd) is one try that does not block; blocking(fd) the whole call in a
// region, for what epoll refuses.  Both return the kernel's answer.  `drains` tells that there is
// nothing to try for, at the start or after an answer.
template <class Attempt, class Blocking, class Drains = NeverDrains>
long ready_call(Fiber* fiber, Waiting& waiting, Attempt&& attempt, Blocking&& blocking,
                WaitReason reason = WaitReason::kIo, Drains drains = {}) {
    bool is_drained = drains.at_start(waiting);
    for (;;) {
        RuntimeSection::enter(fiber);
        bool had = false;
        long answer = -EAGAIN;
        if (!is_drained) {
            had = waiting.clear();
            answer = attempt(waiting.fd);
        }
        is_drained = false;  // after a wait only the kernel knows
        if (answer != -EAGAIN) {
            if (!had || !drains.after(waiting, answer))
                waiting.restore(had, reason == WaitReason::kIo ? answer : 0);
            RuntimeSection::leave(fiber);
            return answer;
        }
        const Step step = waiting.wait(reason);
        RuntimeSection::leave(fiber);
        switch (step) {
            case Step::kRetry:
                break;
            case Step::kTimedOut:
            case Step::kNonBlocking:
                return -EAGAIN;
            case Step::kInterrupted:
                // A socket call with a timeout is never resumed.
                if (waiting.interrupted(waiting.is_timed() ? Restart::kNo : Restart::kYes))
                    return -EINTR;
                break;
            case Step::kUnpollable:
                return blocking(waiting.fd);
        }
    }
}

}  // namespace pfiber::interpose
