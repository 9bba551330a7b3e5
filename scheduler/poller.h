// The network poller of one processor, and what is known of each descriptor.
//
// A descriptor is registered once, edge-triggered for both directions, with the epoll instance of
// the processor on which a fiber first waits for it.  The protocol of a wait (invariant B1, no
// event is lost): clear the ready bit, try the call, on EAGAIN take the descriptor's lock, look at
// the bit again, enqueue, park.  An event sets the bit and takes waiters under the same lock.
// Events carry a tag; those of a closed and reused number are dropped. Go: netpoll, pollDesc; one
// instance per processor is ours.
#pragma once

#include <sys/epoll.h>

#include "scheduler/fiber.h"
#include "scheduler/lock.h"
#include "scheduler/poller_gate.h"

namespace pfiber {

struct Processor;

enum Direction : uint8_t { kRead = 1, kWrite = 2, kPriority = 4 };

enum class DescriptorKind : uint8_t {
    kUnknown,
    kSocket,
    kPipe,     // RWF_NOWAIT is honoured
    kRegular,  // never parks: file, directory, block device
    kOther,    // poll first, then call: tty, FIFO by name, eventfd, inotify, …
};

// Whether a receive that gave less than asked for proves a socket drained (invariant B4).
enum class ShortReads : uint8_t {
    kUnproved,     // nothing is known yet: every receive is tried
    kDrain,        // one proved it: with the ready bit down there is nothing to receive
    kMeaningless,  // not plain TCP data, or the end of the stream was seen
};

struct Descriptor;

// One fiber's interest in one descriptor; on the fiber's stack, linked under the descriptor's lock.
struct IoWaiter {
    IoWaiter* next = nullptr;
    IoWaiter* prev = nullptr;
    Platform::Atomic<Descriptor*> descriptor{nullptr};  // null: not linked; written under its lock
    FiberRef who;
    uint8_t directions = 0;
    bool is_exclusive = false;  // one of these is woken per event; poll-like waiters all are
    // On Wake::kClosed: a private duplicate of the file whose number was closed (or the same number
    // when none could be made); the call goes on with it and gives it back through
    // io_release_private().
    int fd = -1;
};

struct Descriptor {
    Lock lock;
    Platform::Atomic<uint32_t> tag{0};
    Platform::Atomic<uint8_t> ready{0};
    Platform::Atomic<DescriptorKind> kind{DescriptorKind::kUnknown};
    Platform::Atomic<ShortReads> short_reads{ShortReads::kUnproved};
    int16_t poller = 0;              // 1 + processor whose instance holds it; 0: not registered
    uint8_t waits_elsewhere = 0;     // in a row, on other processors than the instance's
    bool is_unpollable = false;      // epoll refused it
    bool is_shared = false;          // another number or process may hold the description
    bool made_here = false;          // created by this process: nobody else saw its flags
    uint8_t temporary_nonblock = 0;  // calls that run with O_NONBLOCK set by us
    Platform::Atomic<int32_t> private_references{0};  // waiters that go on with this duplicate
    Platform::Atomic<int8_t> private_closing{0};      // callers that give one of these back
    // Written by any caller that found out; a stale value costs a try, never an answer.
    uint8_t no_nowait = 0;      // directions in which RWF_NOWAIT is refused
    uint8_t device = 0;         // of its st_dev, set with the kind: part of the prediction's key
    uint8_t socket_type = 0;    // SOCK_STREAM…; 0: not asked yet
    uint8_t socket_family = 0;  // AF_INET…; 0: not asked yet
    bool is_listener = false;   // it was seen listening
    bool is_blocking = false;   // O_NONBLOCK is clear; believed while made_here && !is_shared
    bool has_hung_up = false;   // an event told the end of what can be read
    Platform::Atomic<uint32_t> accept_turn{0};  // a fiber stands between poll and accept
    bool has_timeouts = false;                  // the two below are known
    int64_t receive_timeout_ns = 0;             // 0: none
    int64_t send_timeout_ns = 0;
    // An entry of /proc about threads, for the layer above; 0: none.
    uint32_t thread_entry = 0;
    uint64_t listed_up_to = 0;
    IoWaiter* waiters = nullptr;  // first of a ring in arrival order
};

// State of number `fd`, made on first use; null only for a negative number or without memory.  Any
// thread; it stays mapped for ever.
Descriptor* descriptor_of(int fd);
// State of `fd` if there is one already.
Descriptor* descriptor_if_known(int fd);

// The number was just created (open, socket, accept, dup…): forget what was known of an older file.
void descriptor_opened(int fd, DescriptorKind kind, bool made_here);
// The number is about to be closed or overwritten: natively a call that waits keeps the file, so
// waiters are sent on to a private duplicate.  On a fiber or before the start.
void descriptor_closing(int fd);
// Gives a waiter's private duplicate back; the last one closes it.  In the runtime.
void io_release_private(int fd);
// The description is known to others from now on (fork, exec, dup, SCM_RIGHTS).
void descriptor_shared(int fd);
void descriptors_all_shared();

struct Poller {
    int epoll_fd = -1;
    int id = 0;
    PollerGate<Platform> gate;
    Platform::Atomic<int32_t> waiters{0};     // fibers parked on descriptors registered here
    Platform::Atomic<int32_t> registered{0};  // descriptors in the instance
    Platform::Atomic<int64_t> last_poll_ns{0};
};

// On a fiber, in the runtime.  Parks until one of `count` waiters' descriptors is ready, or the
// deadline.  Each waiter has fd, directions and is_exclusive set; this links and unlinks them.
// *unpollable tells that epoll refused one of them and nothing was waited for.
Wake io_wait(Fiber* fiber, IoWaiter* waiters, int count, int64_t deadline_ns, WaitReason reason,
             bool* unpollable);

// Before a try: takes the notification back.  True when there was one; io_restore_ready() then has
// to follow a try that succeeded, because it proved nothing about what is left (B2).
inline bool io_clear_ready(Descriptor* descriptor, uint8_t direction) {
    if ((descriptor->ready.load(std::memory_order_acquire) & direction) == 0) return false;
    descriptor->ready.fetch_and(static_cast<uint8_t>(~direction));
    return true;
}
void io_restore_ready(Descriptor* descriptor, uint8_t direction);  // in the runtime

// After a call that did not have to wait; in the runtime.  A fiber whose peer always answers in
// time would never park and serve its own connection alone until its slice ends: after a few calls
// in a row it lets others run, those with unseen events included (W7).  `bytes`: what it moved, or
// less than that, errors included.
void io_took_turn(Fiber* fiber, long bytes = 0);

// After a successful call in `direction`: others may find more (one edge wakes one waiter).
void io_wake_next(Descriptor* descriptor, uint8_t direction);

// At the start: an instance for each of `count` processors, or one for all.  False: no descriptor.
bool pollers_start(int count);
// World lock held: instances for processors up to `count`.  False: no descriptor for one of them.
bool pollers_grow(int count);
// In a stopped world: what is registered with one instance goes to another.
void poller_move(Processor* from, Processor* to);
void pollers_reset_after_fork();
void poller_descriptor_moved(int from, int to);  // one of its own has another number now
int descriptor_table_end();                      // no number from here on has a state

// Looks at `processor`'s instance without waiting (unless another thread is inside) and returns the
// fibers that became runnable, linked by queue_next.
Fiber* poll_ready(Processor* processor);

// Sleeps until any instance has an event, `deadline_ns`, or break_sleeper().  Returns the fibers.
Fiber* poll_sleep(int64_t deadline_ns);
void break_sleeper();  // any thread

}  // namespace pfiber
