// See io.h.  Descriptor facts, waits and regions.
//
// I1: a fact about a descriptor that only this process can change (made_here && !is_shared) is
// cached until a hook changes it; every other one is asked of the kernel at each wait.
#include "interpose/io.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "interpose/hooks.h"
#include "shim/signal.h"

namespace pfiber::interpose {

long socket_option(int fd, int option, void* value, unsigned size) {
    return host::optional_syscall(host::kGetsockopt, SYS_getsockopt, fd, SOL_SOCKET, option, value,
                                  &size);
}

namespace {

int64_t timeout_of(int fd, int option) {
    timeval timeout{};
    if (socket_option(fd, option, &timeout, sizeof timeout) != 0) return 0;
    const timespec time{timeout.tv_sec, timeout.tv_usec * 1000};
    return nanoseconds(&time);
}

// A vfork child runs in our memory: what it does to its descriptors is none of ours.
bool is_this_process() {
    if (current_fiber() != nullptr || !g_runtime_started) return true;
    return host::raw_getpid() == static_cast<int>(main_fiber()->tid);
}

long call_in_region(Fiber* fiber, long number, const long* arguments) {
    if (shim::cancellation_is_due(fiber)) return -EINTR;
    return host::pfiber_blocking_syscall(&fiber->attention, kAttendSignal | kAttendCancel, number,
                                         arguments);
}

}  // namespace

// No object with a destructor, so that unwinding from the instruction itself finds nothing to do.
[[gnu::noinline]] long libc_thread_call(long number, const long* a) {
    int type = PTHREAD_CANCEL_DEFERRED;
    real(pthread_setcanceltype)(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    const long answer = host::raw_syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    real(pthread_setcanceltype)(type, nullptr);
    return answer;
}

namespace {

// The call again and again until a result or a handler that ends it.  `attempt()`: one region.
template <class Attempt>
long until_ended(Fiber* fiber, Restart restart, Attempt attempt) {
    const shim::InterruptMark mark = shim::interrupt_mark(fiber);
    for (;;) {
        const long answer = attempt();
        if (answer != -EINTR) return answer;
        shim::cancellation_point(fiber);
        if (shim::interrupted_since(fiber, mark, restart == Restart::kYes)) return -EINTR;
    }
}

long call_handed_off(Fiber* fiber, long number, const long* arguments) {
    enter_blocking_call(fiber);
    const long answer = call_in_region(fiber, number, arguments);
    exit_call(fiber);
    if (answer >= 0) shim::handle_signals_before_end(fiber);
    return answer;
}

}  // namespace

long region_call(Fiber* fiber, Region region, Restart restart, long number, const long* arguments) {
    if (region == Region::kMaybe)
        return predicted_region_call(fiber, PredictedCall(0), restart, number, arguments);
    return until_ended(fiber, restart, [&] { return call_handed_off(fiber, number, arguments); });
}

long timed_region_call(Fiber* fiber, int64_t deadline_ns, int timeout_at, long number,
                       const long* arguments) {
    long asked[6];
    for (int i = 0; i < 6; i++) asked[i] = arguments[i];
    timespec left;
    return until_ended(fiber, Restart::kNo, [&] {
        asked[timeout_at] = host::syscall_argument(time_left(deadline_ns, &left));
        return call_handed_off(fiber, number, asked);
    });
}

long predicted_region_call(Fiber* fiber, PredictedCall call, Restart restart, long number,
                           const long* arguments) {
    return until_ended(fiber, restart, [&] {
        enter_predicted_call(fiber, &call);
        const long answer = call_in_region(fiber, number, arguments);
        exit_predicted_call(fiber, &call);
        return answer;
    });
}

namespace {

enum class Cached : uint8_t { kYes, kNo, kUnknown };

// One byte at either end, read where nobody notices: no position moves, nothing is torn, and a
// wrong answer costs a hand-off too many or one too few.
Cached is_cached(Descriptor* descriptor, int fd, off64_t offset, size_t size) {
    if (!may_try_nowait(descriptor, kRead)) return Cached::kUnknown;
    if (offset < 0) offset = host::raw_syscall(SYS_lseek, fd, 0L, SEEK_CUR);
    if (offset < 0) return Cached::kUnknown;
    constexpr off64_t kPage = 4096;
    const off64_t last = offset + static_cast<off64_t>(size) - 1;
    for (off64_t at : {offset, last}) {
        if (at == last && offset / kPage == last / kPage && at != offset) break;
        char byte;
        const iovec one{&byte, 1};
        const long answer = host::raw_syscall(SYS_preadv2, fd, &one, 1L, at, 0L, RWF_NOWAIT);
        if (answer == -EAGAIN) return Cached::kNo;
        if (answer < 0) {  // the file system cannot tell, or O_DIRECT wants whole blocks
            descriptor->no_nowait |= kRead;
            return Cached::kUnknown;
        }
    }
    return Cached::kYes;
}

}  // namespace

PredictedCall predict_read(long number, int fd, off64_t offset, size_t size) {
    PredictedCall call(file_key(number, fd));
    if (__builtin_expect(call.history == CallHistory::kShort, 1)) return call;
    Descriptor* descriptor = descriptor_if_known(fd);
    if (descriptor == nullptr || size == 0) return call;
    switch (is_cached(descriptor, fd, offset, size)) {
        case Cached::kYes:
            learn_call(call.key, CallLength::kFoundShort, 0);
            call.key = 0;
            break;
        case Cached::kNo:
            learn_call(call.key, CallLength::kLong, Platform::now_ns());
            call.is_known_long = true;
            call.history = CallHistory::kLong;
            break;
        case Cached::kUnknown:
            break;
    }
    return call;
}

DescriptorKind kind_of(Descriptor* descriptor, int fd) {
    const DescriptorKind kind = descriptor->kind.load(std::memory_order_relaxed);
    return kind != DescriptorKind::kUnknown ? kind : classify(descriptor, fd);
}

DescriptorKind classify(Descriptor* descriptor, int fd) {
    struct stat status;
    if (is_hidden(fd) || host::raw_syscall(SYS_fstat, fd, &status) != 0)
        return DescriptorKind::kUnknown;
    DescriptorKind kind = DescriptorKind::kOther;
    switch (status.st_mode & S_IFMT) {
        case S_IFSOCK:
            kind = DescriptorKind::kSocket;
            break;
        case S_IFIFO:
        case 0:  // eventfd, timerfd, epoll, inotify…: those that refuse RWF_NOWAIT say so
            kind = DescriptorKind::kPipe;
            break;
        case S_IFREG:
        case S_IFDIR:
        case S_IFBLK:
            kind = DescriptorKind::kRegular;
            break;
        default:
            break;
    }
    descriptor->device = static_cast<uint8_t>(status.st_dev ^ status.st_dev >> 8);
    descriptor->kind.store(kind, std::memory_order_relaxed);
    return kind;
}

int socket_type_of(Descriptor* descriptor, int fd) {
    if (descriptor->socket_type == 0) {
        int type = 0;
        if (socket_option(fd, SO_TYPE, &type, sizeof type) != 0) return 0;
        descriptor->socket_type = static_cast<uint8_t>(type);
    }
    return descriptor->socket_type;
}

int socket_family_of(Descriptor* descriptor, int fd) {
    if (descriptor->socket_family == 0) {
        int family = 0;
        if (socket_option(fd, SO_DOMAIN, &family, sizeof family) != 0) return 0;
        descriptor->socket_family = static_cast<uint8_t>(family);
    }
    return descriptor->socket_family;
}

bool is_nonblocking(Descriptor* descriptor, int fd) {
    if (is_surely_blocking(descriptor)) return false;
    const bool is_ours = descriptor->made_here && !descriptor->is_shared;
    LockGuard guard(descriptor->lock);  // excludes the moment of a connect
    const long flags = host::raw_syscall(SYS_fcntl, fd, F_GETFL);
    if (host::is_error(flags)) return false;  // the next try names the error
    const bool is_set = (flags & O_NONBLOCK) != 0 && descriptor->temporary_nonblock == 0;
    if (is_ours) descriptor->is_blocking = !is_set;
    return is_set;
}

void forget_flags(int fd) {
    if (Descriptor* descriptor = descriptor_if_known(fd)) descriptor->is_blocking = false;
}

bool short_read_drains(Descriptor* descriptor, int fd) {
    auto seen = descriptor->short_reads.load(std::memory_order_relaxed);
    if (__builtin_expect(seen != ShortReads::kUnproved, 1)) return seen == ShortReads::kDrain;
    if (!is_surely_blocking(descriptor)) return false;
    int protocol = 0;
    const bool is_tcp =
        socket_option(fd, SO_PROTOCOL, &protocol, sizeof protocol) == 0 && protocol == IPPROTO_TCP;
    const ShortReads learnt = is_tcp ? ShortReads::kDrain : ShortReads::kMeaningless;
    // An event may have said "meaningless" meanwhile, for good.
    return descriptor->short_reads.compare_exchange_strong(seen, learnt) && is_tcp;
}

void forget_short_reads(int fd) {
    if (Descriptor* descriptor = descriptor_if_known(fd))
        descriptor->short_reads.store(ShortReads::kMeaningless, std::memory_order_relaxed);
}

int64_t socket_timeout(Descriptor* descriptor, int fd, uint8_t direction) {
    if (descriptor->is_shared)
        return timeout_of(fd, direction == kRead ? SO_RCVTIMEO : SO_SNDTIMEO);
    if (!descriptor->has_timeouts) {
        descriptor->receive_timeout_ns = timeout_of(fd, SO_RCVTIMEO);
        descriptor->send_timeout_ns = timeout_of(fd, SO_SNDTIMEO);
        descriptor->has_timeouts = true;
    }
    return direction == kRead ? descriptor->receive_timeout_ns : descriptor->send_timeout_ns;
}

void note_opened(long fd, DescriptorKind kind, bool made_here) {
    if (fd < 0 || !g_runtime_started || !is_this_process()) return;
    OptionalSection section;
    if (descriptor_of(static_cast<int>(fd)) != nullptr)
        descriptor_opened(static_cast<int>(fd), kind, made_here);
}

void note_shared(long fd) {
    if (fd < 0 || !g_runtime_started || !is_this_process()) return;
    descriptor_shared(static_cast<int>(fd));
}

void note_closing(int fd) {
    if (descriptor_if_known(fd) == nullptr || !is_this_process()) return;
    OptionalSection section;
    descriptor_closing(fd);
}

void note_closing_span(unsigned first, unsigned last) {
    if (first > INT32_MAX || !is_this_process()) return;
    const int end = descriptor_table_end();
    for (int fd = static_cast<int>(first); fd < end && static_cast<unsigned>(fd) <= last; fd++)
        note_closing(fd);
}

long next_hidden(unsigned first) {
    if (first > INT32_MAX) return -1;
    long lowest = next_runtime_descriptor(static_cast<int>(first));
    const int end = descriptor_table_end();
    for (int fd = static_cast<int>(first); fd < end && (lowest < 0 || fd < lowest); fd++)
        if (is_private_descriptor(fd)) return fd;
    return lowest;
}

short poll_now(int fd, short events) {
    pollfd one{fd, events, 0};
    long count;
    // EINTR may be the runtime's own signal, and says nothing about the descriptor.
    do count = host::raw_syscall(SYS_poll, &one, 1, 0);
    while (count == -EINTR);
    return count > 0 ? one.revents : short{0};
}

Step step_of(Wake outcome) {
    switch (outcome) {
        case Wake::kTimeout:
            return Step::kTimedOut;
        case Wake::kSignal:
        case Wake::kCancel:
            return Step::kInterrupted;
        case Wake::kReady:
        case Wake::kClosed:
            break;
    }
    return Step::kRetry;
}

Step Waiting::wait(WaitReason reason) {
    if (!asked_flags_) {
        if (is_nonblocking(descriptor, fd)) return Step::kNonBlocking;
        asked_flags_ = true;
    }
    if (!has_deadline_) {
        has_deadline_ = true;
        if (kind_of(descriptor, fd) == DescriptorKind::kSocket) {
            const int64_t timeout = socket_timeout(descriptor, fd, direction_);
            if (timeout > 0) deadline_ns_ = deadline_after(timeout);
        }
    }
    if (shim::cancellation_is_due(fiber_)) return Step::kInterrupted;
    // A handler that ran after a wait that ended for another reason (the number was closed, an
    // event that somebody else took): natively the call never left its one wait.
    if (shim::interrupted_since(fiber_, mark_, true)) return Step::kInterrupted;
    if (fiber_->runs_beside) return Step::kUnpollable;
    IoWaiter waiter;
    waiter.fd = fd;
    waiter.directions = direction_;
    waiter.is_exclusive = true;
    bool is_unpollable = false;
    const Wake outcome = io_wait(fiber_, &waiter, 1, deadline_ns_, reason, &is_unpollable);
    if (is_unpollable) return Step::kUnpollable;
    if (outcome == Wake::kClosed && waiter.fd != fd) go_on_with(waiter.fd);
    return step_of(outcome);
}

bool Waiting::interrupted(Restart restart) {
    shim::cancellation_point(fiber_);
    return shim::interrupted_since(fiber_, mark_, restart == Restart::kYes);
}

// The number was closed while the call waited: natively it keeps the file.
void Waiting::go_on_with(int duplicate) {
    const DescriptorKind kind = descriptor->kind.load(std::memory_order_relaxed);
    if (is_private_) io_release_private(fd);
    is_private_ = true;
    fd = duplicate;
    descriptor = descriptor_of(fd);
    if (kind != DescriptorKind::kUnknown) descriptor->kind.store(kind);
}

void Waiting::release() {
    RuntimeSection::enter(fiber_);
    io_release_private(fd);
    // Not leave(): a destructor is no place for signal handlers; the next hook looks.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    fiber_->depth--;
}

}  // namespace pfiber::interpose
