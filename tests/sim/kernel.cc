// See kernel.h.
#include "tests/sim/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "scheduler/runtime.h"

namespace pfiber::sim {

Kernel g_kernel;

namespace {

constexpr int kCallNs = 250;
constexpr int kFirstNumber = 3;
constexpr int kPid = 4000;

int64_t to_ns(const timespec* time) { return time->tv_sec * 1000000000LL + time->tv_nsec; }

template <class T>
bool take_out(std::vector<T>& list, T what) {
    for (size_t i = 0; i < list.size(); i++) {
        if (list[i] != what) continue;
        list.erase(list.begin() + static_cast<long>(i));
        return true;
    }
    return false;
}

}  // namespace

bool Kernel::fault(int64_t one_in) {
    return g_config.faults && g_runtime_started && faults_.one_in(one_in);
}

// ---- futex

long Kernel::futex_wait(const void* address, uint32_t expected, int64_t deadline_ns) {
    step(kCallNs);
    for (;;) {
        if (*static_cast<const volatile uint32_t*>(address) != expected) return -EAGAIN;
        if (g_machine.random.one_in(50)) return 0;  // stray returns are legal
        KernelThread* self = g_machine.self;
        futexes_[address].push_back(self);
        const Ended ended = g_machine.block(Blocked::kFutex, address, deadline_ns, true);
        take_out(futexes_[address], self);
        if (futexes_[address].empty()) futexes_.erase(address);
        if (ended != Ended::kSignal) return ended == Ended::kTimeout ? -ETIMEDOUT : 0;
        g_machine.deliver_signals();  // SA_RESTART
    }
}

long Kernel::futex_wake(const void* address, int count) {
    step(kCallNs);
    auto found = futexes_.find(address);
    if (found == futexes_.end()) return 0;
    int woken = 0;
    while (woken < count && !found->second.empty()) {
        KernelThread* thread = found->second.front();
        found->second.erase(found->second.begin());
        if (thread->run != Run::kBlocked || thread->place != address) continue;
        g_machine.wake(thread, Ended::kWoken);
        woken++;
    }
    return woken;
}

// ---- files

File* Kernel::file(int fd) {
    return fd < 0 || static_cast<size_t>(fd) >= files_.size() ? nullptr
                                                              : files_[static_cast<size_t>(fd)];
}

int Kernel::install(File* file, int lowest) {
    auto fd = static_cast<size_t>(lowest < kFirstNumber ? kFirstNumber : lowest);
    while (fd < files_.size() && files_[fd] != nullptr) fd++;
    if (fd >= files_.size()) files_.resize(fd + 1, nullptr);
    files_[fd] = file;
    file->references++;
    return static_cast<int>(fd);
}

void Kernel::forget(Watch* watch) {
    if (watch->is_queued) watch->epoll->queued.remove(watch);
    take_out(watch->epoll->watches, watch);
    take_out(watch->target->watched_by, watch);
    delete watch;
}

void Kernel::release(File* file) {
    if (--file->references > 0) return;
    while (!file->watched_by.empty()) forget(file->watched_by.back());
    while (!file->watches.empty()) forget(file->watches.back());
    file->is_ended = true;  // the peer may still hold it
}

long Kernel::close(int fd) {
    step(kCallNs);
    File* closed = file(fd);
    if (closed == nullptr) return -EBADF;
    files_[static_cast<size_t>(fd)] = nullptr;
    release(closed);
    return 0;
}

uint32_t Kernel::state(File* file) {
    uint32_t events = 0;
    switch (file->kind) {
        case FileKind::kSocket:
            if (file->received > 0) events |= EPOLLIN;
            if (file->is_ended) events |= EPOLLIN | EPOLLRDHUP;
            if (file->room > 0) events |= EPOLLOUT;
            break;
        case FileKind::kListener:
            if (!file->backlog.empty()) events |= EPOLLIN;
            break;
        case FileKind::kEvent:
            if (file->received > 0) events |= EPOLLIN;
            events |= EPOLLOUT;
            break;
        case FileKind::kEpoll:
            if (has_event(file)) events |= EPOLLIN;
            break;
    }
    return events;
}

bool Kernel::has_event(File* epoll) {
    for (auto at = epoll->queued.begin(); at != epoll->queued.end();) {
        if ((state((*at)->target) & (*at)->events) != 0) return true;
        (*at)->is_queued = false;
        at = epoll->queued.erase(at);
    }
    return false;
}

// The file's wait queue is woken with these events.
void Kernel::raise(File* file, uint32_t events) {
    for (Watch* watch : file->watched_by) {
        if ((watch->events & events) == 0) continue;
        if (!watch->is_queued) {
            watch->is_queued = true;
            watch->epoll->queued.push_back(watch);
        }
        if (!watch->epoll->sleepers.empty()) {
            KernelThread* sleeper = watch->epoll->sleepers.front();
            watch->epoll->sleepers.erase(watch->epoll->sleepers.begin());
            g_machine.wake(sleeper, Ended::kWoken);
        }
        raise(watch->epoll, EPOLLIN);
    }
}

int Kernel::open_socket(FileKind kind, int peer) {
    step(kCallNs);
    auto* made = new File;
    made->kind = kind;
    made->peer = peer;
    return install(made);
}

long Kernel::receive(int fd) {
    step(kCallNs);
    File* from = file(fd);
    if (from == nullptr) return -EBADF;
    if (from->received > 0) {
        from->received--;
        return 1;
    }
    return from->is_ended ? 0 : -EAGAIN;
}

long Kernel::send(int fd) {
    step(kCallNs);
    File* to = file(fd);
    if (to == nullptr) return -EBADF;
    if (to->room == 0) {
        to->wants_room = true;
        return -EAGAIN;
    }
    to->room--;
    if (to->on_sent != nullptr) to->on_sent(to);
    return 1;
}

long Kernel::accept(int fd) {
    step(kCallNs);
    File* from = file(fd);
    if (from == nullptr) return -EBADF;
    if (from->backlog.empty()) return -EAGAIN;
    const int peer = from->backlog.front();
    from->backlog.pop_front();
    return open_socket(FileKind::kSocket, peer);
}

void Kernel::peer_sends(File* file, int64_t count) {
    file->received += count;
    raise(file, EPOLLIN);
}

void Kernel::peer_reads(File* file, int64_t count) {
    file->room = file->room + count < file->capacity ? file->room + count : file->capacity;
    if (!file->wants_room) return;
    file->wants_room = false;
    raise(file, EPOLLOUT);
}

void Kernel::peer_ends(File* file) {
    file->is_ended = true;
    raise(file, EPOLLIN | EPOLLRDHUP);
}

void Kernel::peer_connects(File* listener, int peer) {
    listener->backlog.push_back(peer);
    raise(listener, EPOLLIN);
}

// ---- epoll

namespace {

bool watches(const File* outer, const File* inner) {
    if (outer == inner) return true;
    for (const Watch* watch : outer->watches)
        if (watches(watch->target, inner)) return true;
    return false;
}

}  // namespace

long Kernel::epoll_control(int epoll, int operation, int fd, epoll_event* event) {
    File* instance = file(epoll);
    File* target = file(fd);
    if (instance == nullptr || target == nullptr) return -EBADF;
    Watch* found = nullptr;
    for (Watch* watch : instance->watches)
        if (watch->target == target && watch->fd == fd) found = watch;
    if (operation == EPOLL_CTL_DEL) {
        if (found == nullptr) return -ENOENT;
        forget(found);
        return 0;
    }
    if (operation == EPOLL_CTL_ADD) {
        if (found != nullptr) return -EEXIST;
        if (watches(target, instance)) return -ELOOP;
        if (fault(20)) return -ENOMEM;
        found = new Watch;
        found->target = target;
        found->epoll = instance;
        found->fd = fd;
        instance->watches.push_back(found);
        target->watched_by.push_back(found);
    } else if (found == nullptr) {
        return -ENOENT;
    }
    found->events = event->events | EPOLLERR | EPOLLHUP;
    found->data = event->data.u64;
    if ((state(target) & found->events) == 0) return 0;
    if (!found->is_queued) {
        found->is_queued = true;
        instance->queued.push_back(found);
    }
    if (!instance->sleepers.empty()) {
        KernelThread* sleeper = instance->sleepers.front();
        instance->sleepers.erase(instance->sleepers.begin());
        g_machine.wake(sleeper, Ended::kWoken);
    }
    raise(instance, EPOLLIN);
    return 0;
}

int Kernel::collect(File* epoll, epoll_event* events, int room) {
    int count = 0;
    std::list<Watch*> again;
    while (count < room && !epoll->queued.empty()) {
        Watch* watch = epoll->queued.front();
        epoll->queued.pop_front();
        watch->is_queued = false;
        const uint32_t now = state(watch->target) & watch->events;
        if (now == 0) continue;
        events[count].events = now;
        events[count].data.u64 = watch->data;
        count++;
        record(Event::kEpollEvent, watch->fd, now);
        if ((watch->events & EPOLLET) == 0) again.push_back(watch);
    }
    for (Watch* watch : again) {
        watch->is_queued = true;
        epoll->queued.push_back(watch);
    }
    return count;
}

long Kernel::epoll_wait(int epoll, epoll_event* events, int room, int64_t deadline_ns) {
    File* instance = file(epoll);
    if (instance == nullptr) return -EBADF;
    if (deadline_ns != 0 && fault(20)) return -EINTR;
    for (;;) {
        const int count = collect(instance, events, room);
        if (count > 0 || deadline_ns <= g_machine.now_ns()) return count;
        KernelThread* self = g_machine.self;
        instance->sleepers.push_back(self);
        const Ended ended = g_machine.block(Blocked::kEpoll, instance, deadline_ns, true);
        take_out(instance->sleepers, self);
        if (ended == Ended::kSignal) {
            g_machine.deliver_signals();
            return -EINTR;
        }
    }
}

// ---- the calls of the runtime

long Kernel::call(long number, long a, long b, long c, long d, long e, long f) {
    KernelThread* self = g_machine.self;
    switch (number) {  // no scheduling point: memory is the real one
        case SYS_mmap:
        case SYS_mremap:
            // A timer heap's first piece of memory, or more of it.
            if (self != nullptr && (number == SYS_mremap || b == 4096) && fault(3)) return -ENOMEM;
            [[fallthrough]];
        case SYS_munmap:
        case SYS_madvise:
        case SYS_mprotect: {
            const long rc = syscall(number, a, b, c, d, e, f);
            return rc < 0 && rc >= -4095 ? -errno : rc;
        }
        case SYS_gettid:
            return self->tid;
        case SYS_getpid:
            return kPid;
        case SYS_prlimit64:
            if (d != 0)
                reinterpret_cast<uint64_t*>(d)[0] = reinterpret_cast<uint64_t*>(d)[1] = 4096;
            return 0;
        case SYS_close:
            return close(static_cast<int>(a));
        default:
            break;
    }
    step(kCallNs);
    self = g_machine.self;
    switch (number) {
        case SYS_futex:
            if ((b & FUTEX_CMD_MASK) == FUTEX_WAKE)
                return futex_wake(reinterpret_cast<void*>(a), static_cast<int>(c));
            return futex_wait(
                reinterpret_cast<void*>(a), static_cast<uint32_t>(c),
                d == 0 ? INT64_MAX : g_machine.now_ns() + to_ns(reinterpret_cast<timespec*>(d)));
        case SYS_eventfd2: {
            auto* made = new File;
            made->kind = FileKind::kEvent;
            return install(made);
        }
        case SYS_epoll_create1: {
            auto* made = new File;
            made->kind = FileKind::kEpoll;
            return install(made);
        }
        case SYS_epoll_ctl:
            return epoll_control(static_cast<int>(a), static_cast<int>(b), static_cast<int>(c),
                                 reinterpret_cast<epoll_event*>(d));
        case SYS_epoll_pwait:
            return epoll_wait(static_cast<int>(a), reinterpret_cast<epoll_event*>(b),
                              static_cast<int>(c),
                              d == 0  ? 0
                              : d < 0 ? INT64_MAX
                                      : g_machine.now_ns() + d * 1000000);
        case SYS_epoll_pwait2:
            return epoll_wait(static_cast<int>(a), reinterpret_cast<epoll_event*>(b),
                              static_cast<int>(c),
                              g_machine.now_ns() + to_ns(reinterpret_cast<timespec*>(d)));
        case SYS_write: {
            if (a == 2) return ::write(2, reinterpret_cast<void*>(b), static_cast<size_t>(c));
            File* to = file(static_cast<int>(a));
            if (to == nullptr || to->kind != FileKind::kEvent) return -EBADF;
            record(Event::kWrite, a);
            to->received++;
            raise(to, EPOLLIN);
            return c;
        }
        case SYS_fcntl: {
            if (b != F_DUPFD_CLOEXEC && b != F_DUPFD) return -EINVAL;
            File* source = file(static_cast<int>(a));
            if (source == nullptr) return -EBADF;
            if (c >= 4096) return -EINVAL;
            if (c == 0 && fault(4)) return -EMFILE;
            return install(source, static_cast<int>(c));
        }
        case SYS_tgkill: {
            KernelThread* thread = g_machine.find(static_cast<int>(b));
            if (thread == nullptr) return -ESRCH;
            g_machine.send_signal(thread, false);
            return 0;
        }
        case SYS_rt_sigprocmask:
            if (c != 0) *reinterpret_cast<uint64_t*>(c) = self->mask;
            if (b == 0) return 0;
            if (a == SIG_SETMASK)
                self->mask = *reinterpret_cast<uint64_t*>(b);
            else if (a == SIG_BLOCK)
                self->mask |= *reinterpret_cast<uint64_t*>(b);
            else
                self->mask &= ~*reinterpret_cast<uint64_t*>(b);
            return 0;
        case SYS_timer_create:
            if (fault(4)) return -EAGAIN;
            *reinterpret_cast<int*>(c) = self->tid;
            return 0;
        case SYS_timer_settime: {
            const auto* period = reinterpret_cast<const itimerspec*>(c);
            self->timer_period_ps = to_ns(&period->it_interval) * 1000;
            self->timer_next_ps = self->timer_period_ps == 0
                                      ? INT64_MAX
                                      : g_machine.cpu_ps(self) + self->timer_period_ps;
            return 0;
        }
        case SYS_timer_delete:
            self->timer_next_ps = INT64_MAX;
            return 0;
        case SYS_nanosleep:
            g_machine.block(Blocked::kSleep, nullptr,
                            g_machine.now_ns() + to_ns(reinterpret_cast<timespec*>(a)), false);
            return 0;
        case SYS_membarrier:
        case SYS_sched_yield:
        case SYS_sigaltstack:
            return 0;
        default:
            fail("system call %ld is not simulated", number);
    }
}

}  // namespace pfiber::sim
