// See poller.h.  Registration, events and the sleep of the last idle worker.
//
// All instances are nested, edge-triggered, in one master instance; the sleeper waits there and
// then looks at the instances that have events.  With one processor it sleeps in that one directly.
#include "scheduler/poller.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/report.h"
#include "scheduler/io_waiters.h"
#include "scheduler/runtime_descriptors.h"
#include "scheduler/scheduler.h"

namespace pfiber {

namespace {

constexpr int kBatch = 128;
constexpr uint64_t kBreakTag = ~uint64_t{0};

int master_fd = -1;
int break_fd = -1;
int poller_count;  // instances, those of removed processors included
std::atomic<bool> reported_epoll_limit{false};

int new_epoll() {
    return runtime_descriptor_adopt(host::raw_syscall(SYS_epoll_create1, EPOLL_CLOEXEC));
}

bool add(int epoll, int fd, uint32_t events, uint64_t data) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    const long rc = host::raw_syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, fd, &event);
    g_start_error = -rc;
    return rc == 0;
}

long wait_for_events(int epoll, epoll_event* events, int64_t deadline_ns) {
    if (deadline_ns == 0)
        return host::raw_syscall(SYS_epoll_pwait, epoll, events, kBatch, 0, nullptr, 8);
    if (deadline_ns == kNever)
        return host::raw_syscall(SYS_epoll_pwait, epoll, events, kBatch, -1, nullptr, 8);
    int64_t left = deadline_ns - Platform::now_ns();
    if (left < 0) left = 0;
    timespec timeout{left / 1000000000, left % 1000000000};
    const long rc =
        host::raw_syscall(SYS_epoll_pwait2, epoll, events, kBatch, &timeout, nullptr, 8);
    if (rc != -ENOSYS && rc != -EPERM) return rc;  // Linux before 5.11, or a filter that is older
    const int64_t ms = (left + 999999) / 1000000;
    return host::raw_syscall(SYS_epoll_pwait, epoll, events, kBatch,
                             ms > 1000000000 ? 1000000000 : ms, nullptr, 8);
}

void count_poll(long events) {
    COUNT(polls);
    if (events <= 0)
        COUNT(polls_empty);
    else
        COUNT_ADD(io_events, events);
}

uint8_t directions_of(uint32_t events) {
    uint8_t directions = 0;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) directions |= kRead;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) directions |= kWrite;
    if ((events & (EPOLLPRI | EPOLLHUP | EPOLLERR)) != 0) directions |= kPriority;
    return directions;
}

void fetch_descriptor(const epoll_event& event) {
    Platform::prefetch(descriptor_if_known(static_cast<int>(event.data.u64 & 0xffffffff)));
}

void deliver(const epoll_event& event, Fiber*** tail) {
    const int fd = static_cast<int>(event.data.u64 & 0xffffffff);
    const auto tag = static_cast<uint32_t>(event.data.u64 >> 32);
    Descriptor* descriptor = descriptor_if_known(fd);
    if (descriptor == nullptr) return;
    const uint8_t directions = directions_of(event.events);
    LockGuard guard(descriptor->lock);
    if (descriptor->tag.load(std::memory_order_relaxed) != tag) return;  // another file's
    // What these announce stays without a further edge, and urgent data ends a receive early (B4).
    if ((event.events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        descriptor->short_reads.store(ShortReads::kMeaningless, std::memory_order_relaxed);
    if ((event.events & (EPOLLRDHUP | EPOLLHUP)) != 0) descriptor->has_hung_up = true;
    descriptor->ready.fetch_or(directions, std::memory_order_release);
    wake_waiters(descriptor, directions, Wake::kReady, tail);
}

// Where a descriptor is registered: with the processor on which its fiber waits, unless that has
// clearly more than another one.  An accept loop would leave all connections on its processor, and
// connections of an almost empty instance would be served far more often than the rest.
Processor* placement(Processor* own) {
    constexpr int32_t kSlack = 4;
    const int32_t registered = own->poller.registered.load(std::memory_order_relaxed);
    Processor* best = own;
    int32_t least = registered - registered / 8 - kSlack;
    for (int i = 0; i < g_scheduler.processor_count; i++) {
        Processor* other = g_scheduler.processors[i];
        const int32_t count = other->poller.registered.load(std::memory_order_relaxed);
        if (count >= least) continue;
        least = count;
        best = other;
    }
    return best;
}

epoll_event event_of(const Descriptor* descriptor, int fd) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
    event.data.u64 = static_cast<uint64_t>(descriptor->tag.load(std::memory_order_relaxed)) << 32 |
                     static_cast<uint32_t>(fd);
    return event;
}

// Descriptor locked.
void arm(Descriptor* descriptor, int fd, Processor* processor) {
    const bool is_global = options().pollers == Pollers::kGlobal;
    Poller& poller = is_global ? g_scheduler.processors[0]->poller : processor->poller;
    epoll_event event = event_of(descriptor, fd);
    long rc = host::raw_syscall(SYS_epoll_ctl, poller.epoll_fd, EPOLL_CTL_ADD, fd, &event);
    if (rc == -EEXIST)  // an older registration outlived its number: give it the new tag
        rc = host::raw_syscall(SYS_epoll_ctl, poller.epoll_fd, EPOLL_CTL_MOD, fd, &event);
    if (rc == 0) {
        descriptor->poller = static_cast<int16_t>(poller.id + 1);
        poller.registered.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    if (rc == -EBADF) return;  // closed meanwhile: the caller's next try says so
    descriptor->is_unpollable = true;
    if (rc == -ENOSPC || rc == -ENOMEM)
        host::warn_once(reported_epoll_limit,
                        "epoll refused a descriptor (error %ld: fs.epoll.max_user_watches or "
                        "memory); its waits keep a kernel thread",
                        -rc);
}

// Descriptor locked and registered with `from`.  The new instance reports what is ready at once: at
// worst a notification twice.  False: the kernel does not accept it there, and it stays.
bool move_registration(Descriptor* descriptor, int fd, Poller* from, Poller* to) {
    epoll_event event = event_of(descriptor, fd);
    if (host::raw_syscall(SYS_epoll_ctl, to->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return false;
    host::raw_syscall(SYS_epoll_ctl, from->epoll_fd, EPOLL_CTL_DEL, fd, nullptr);
    int32_t waiting = 0;
    IoWaiter* const first = descriptor->waiters;
    for (IoWaiter* at = first; at != nullptr; at = at->next == first ? nullptr : at->next)
        waiting++;
    from->waiters.fetch_sub(waiting);
    to->waiters.fetch_add(waiting);
    from->registered.fetch_sub(1, std::memory_order_relaxed);
    to->registered.fetch_add(1, std::memory_order_relaxed);
    descriptor->poller = static_cast<int16_t>(to->id + 1);
    return true;
}

// Descriptor locked and registered.  When its fibers wait on another processor again and again, its
// registration follows them: who looks at its own instance then finds its own events.  Not to an
// instance that has clearly more than the old one, see placement().
void follow(Descriptor* descriptor, int fd, Processor* here) {
    constexpr uint8_t kWaitsElsewhere = 8;
    if (here->poller.id + 1 == descriptor->poller || options().pollers == Pollers::kGlobal) {
        descriptor->waits_elsewhere = 0;
        return;
    }
    if (++descriptor->waits_elsewhere < kWaitsElsewhere) return;
    descriptor->waits_elsewhere = 0;
    Poller& old = poller_of(descriptor);
    const int32_t registered = old.registered.load(std::memory_order_relaxed);
    if (here->poller.registered.load(std::memory_order_relaxed) > registered + registered / 8 + 4)
        return;
    if (move_registration(descriptor, fd, &old, &here->poller)) COUNT(io_moves);
}

void unlink_all(IoWaiter* waiters, int count) {
    for (int i = 0; i < count; i++) {
        while (Descriptor* descriptor = waiters[i].descriptor.load(std::memory_order_acquire)) {
            LockGuard guard(descriptor->lock);
            if (waiters[i].descriptor.load(std::memory_order_relaxed) == descriptor)
                unlink(descriptor, &waiters[i]);
        }
    }
}

}  // namespace

Wake io_wait(Fiber* fiber, IoWaiter* waiters, int count, int64_t deadline_ns, WaitReason reason,
             bool* unpollable) {
    *unpollable = false;
    const uint32_t sequence = fiber->park.arm();
    bool is_ready = false;
    int linked = 0;
    for (; linked < count; linked++) {
        IoWaiter& waiter = waiters[linked];
        Descriptor* descriptor = descriptor_of(waiter.fd);
        if (descriptor == nullptr) {
            *unpollable = true;
            break;
        }
        LockGuard guard(descriptor->lock);
        // The first instance is the one that no change of the number of processors removes.
        Processor* here = fiber->runs_beside ? nullptr : fiber->worker->processor;
        if (descriptor->poller == 0 && !descriptor->is_unpollable)
            arm(descriptor, waiter.fd,
                here == nullptr ? g_scheduler.processors[0] : placement(here));
        else if (descriptor->poller != 0 && here != nullptr)
            follow(descriptor, waiter.fd, here);
        if (descriptor->is_unpollable) {
            *unpollable = true;
            break;
        }
        if (descriptor->poller == 0) {
            is_ready = true;
            break;
        }
        waiter.who = {fiber, sequence};
        link(descriptor, &waiter);
        // After the link: io_restore_ready() raises the bit without the lock and looks for us then.
        Platform::fence();
        if ((descriptor->ready.load(std::memory_order_relaxed) & waiter.directions) != 0) {
            unlink(descriptor, &waiter);
            is_ready = true;
            break;
        }
    }
    Wake outcome = Wake::kReady;
    if (is_ready || *unpollable) {
        if (!fiber->park.cancel()) outcome = fiber->park.outcome();
    } else {
        COUNT(parks_io);
        outcome = park(fiber, reason, deadline_ns);
    }
    unlink_all(waiters, linked);
    return outcome;
}

void io_restore_ready(Descriptor* descriptor, uint8_t direction) {
    descriptor->ready.fetch_or(direction, std::memory_order_seq_cst);
    // Somebody may have queued up between our clear and now, with the bit down.
    if (__atomic_load_n(&descriptor->waiters, __ATOMIC_SEQ_CST) != nullptr)
        io_wake_next(descriptor, direction);
}

void io_wake_next(Descriptor* descriptor, uint8_t direction) {
    Fiber* woken = nullptr;
    Fiber** tail = &woken;
    {
        LockGuard guard(descriptor->lock);
        wake_waiters(descriptor, direction, Wake::kReady, &tail);
    }
    ready_list(woken);
}

void io_took_turn(Fiber* fiber, long bytes) {
    // Of small calls four, two requests of receive and send; of large ones what a full socket
    // holds, since only at its end the data is still in the caches (a millisecond or two).
    constexpr uint32_t kMost = 8U << 20, kSmall = kMost / 4;
    constexpr long kLarge = 64L << 10;
    constexpr int64_t kPollEveryNs = 50000;
    Processor* processor = fiber->worker->processor;
    if (processor == nullptr) return;
    const uint32_t tick = processor->schedule_tick.load(std::memory_order_relaxed);
    if (tick != processor->io_streak_tick) {
        processor->io_streak_tick = tick;
        processor->io_streak = 0;
    }
    processor->io_streak +=
        bytes >= kLarge && bytes < long{kSmall} ? static_cast<uint32_t>(bytes) : kSmall;
    if (processor->io_streak < kMost) return;
    processor->io_streak = 0;
    if (processor->queue.is_empty() &&
        processor->poller.waiters.load(std::memory_order_relaxed) > 0 &&
        Platform::now_ns() - processor->poller.last_poll_ns.load(std::memory_order_relaxed) >
            kPollEveryNs)
        ready_list(poll_ready(processor));
    if (!processor->queue.is_empty() && fiber->locked_worker == nullptr)
        leave_fiber(fiber, AfterSwitch::kYieldLocal);
}

Fiber* poll_ready(Processor* processor) {
    Poller& poller = processor->poller;
    if (!poller.gate.enter()) {
        COUNT(polls_refused);
        return nullptr;
    }
    Fiber* first = nullptr;
    Fiber** tail = &first;
    constexpr long kAhead = 4;
    epoll_event events[kBatch];
    poller.last_poll_ns.store(Platform::now_ns(), std::memory_order_relaxed);
    for (;;) {
        Platform::chaos_point();
        const long count = wait_for_events(poller.epoll_fd, events, 0);
        count_poll(count);
        for (long i = 0; i < count; i++) {
            if (i + kAhead < count) fetch_descriptor(events[i + kAhead]);
            if (events[i].data.u64 != kBreakTag) deliver(events[i], &tail);
        }
        if (count == kBatch || count == -EINTR)
            continue;  // what is left would send no further edge to the sleeper
        Platform::chaos_point();
        if (poller.gate.leave()) return first;
    }
}

Fiber* poll_sleep(int64_t deadline_ns) {
    Fiber* first = nullptr;
    Fiber** tail = &first;
    epoll_event events[kBatch];
    const int master = master_fd;  // made while it sleeps when a second processor is
    const int place = master < 0 ? g_scheduler.processors[0]->poller.epoll_fd : master;
    const long count = wait_for_events(place, events, deadline_ns);
    count_poll(count);
    for (long i = 0; i < count; i++) {
        if (events[i].data.u64 == kBreakTag) continue;
        if (master < 0) {
            deliver(events[i], &tail);
        } else {
            *tail = poll_ready(g_scheduler.processors[events[i].data.u64]);
            while (*tail != nullptr) tail = &(*tail)->queue_next;
        }
    }
    return first;
}

void break_sleeper() {
    const uint64_t one = 1;
    // Edge-triggered and never read: each write is one event, the count cannot overflow.
    while (host::raw_write(break_fd, &one, sizeof one) == -EINTR) {
    }
}

namespace {

bool make_master() {
    const int made = new_epoll();
    bool is_whole = made >= 0 && add(made, break_fd, EPOLLIN | EPOLLET, kBreakTag);
    for (int i = 0; i < poller_count && is_whole; i++)
        is_whole = add(made, g_scheduler.processors[i]->poller.epoll_fd, EPOLLIN | EPOLLET,
                       static_cast<uint64_t>(i));
    if (is_whole)
        master_fd = made;
    else
        runtime_descriptor_drop(made);
    return is_whole;
}

// The only one needs no master: who waits in it sees the eventfd there.
bool make_instance(Poller* poller, bool is_only) {
    const int made = new_epoll();
    const bool is_whole = made >= 0 && (is_only ? add(made, break_fd, EPOLLIN | EPOLLET, kBreakTag)
                                                : add(master_fd, made, EPOLLIN | EPOLLET,
                                                      static_cast<uint64_t>(poller_count)));
    if (!is_whole) {
        runtime_descriptor_drop(made);
        return false;
    }
    poller->id = poller_count;
    poller->epoll_fd = made;
    return true;
}

}  // namespace

bool pollers_grow(int count) {
    if (count > 1 && master_fd < 0 && !make_master()) return false;
    for (; poller_count < count; g_scheduler.made_count = ++poller_count)
        if (!make_instance(&g_scheduler.processors[poller_count]->poller, count == 1)) return false;
    return true;
}

bool pollers_start(int count) {
    poller_count = 0;
    // A program whose limit leaves it just what it needs keeps all of it.
    constexpr rlim_t kLeast = 64;
    rlimit limit{kLeast, kLeast};
    host::raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit);
    if (limit.rlim_cur < kLeast) {
        const auto wanted = static_cast<rlim_t>(count) + 2;
        const rlimit raised = raised_limit(limit, wanted);
        if (raised.rlim_cur < limit.rlim_cur + wanted) return g_start_error = EMFILE, false;
        const long rc = host::raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &raised, nullptr);
        if (rc != 0) return g_start_error = EMFILE, false;
        host::raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, nullptr);
    }
    break_fd =
        runtime_descriptor_adopt(host::raw_syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (break_fd < 0) return false;
    return pollers_grow(count);
}

void pollers_reset_after_fork() {
    runtime_descriptors_close();
    master_fd = break_fd = -1;
}

void poller_descriptor_moved(int from, int to) {
    if (master_fd == from) master_fd = to;
    if (break_fd == from) break_fd = to;
    for (int p = 0; p < poller_count; p++)
        if (g_scheduler.processors[p]->poller.epoll_fd == from)
            g_scheduler.processors[p]->poller.epoll_fd = to;
}

// One that the kernel does not accept stays where it is; the sleeper, the monitor and idle
// processors look there.
void poller_move(Processor* from, Processor* to) {
    const int end = from->poller.registered.load() == 0 ? 0 : descriptor_table_end();
    for (int fd = 0; fd < end; fd++) {
        Descriptor* descriptor = descriptor_if_known(fd);
        if (descriptor == nullptr) continue;
        LockGuard guard(descriptor->lock);
        if (descriptor->poller != from->poller.id + 1) continue;
        move_registration(descriptor, fd, &from->poller, &to->poller);
    }
}

}  // namespace pfiber
