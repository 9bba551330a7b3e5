// poll, select and their signal-mask forms.
//
// M1: the ready bits are taken back before the kernel is asked, so that an event that comes after
// its answer is seen by the wait.  When the answer is "something", the bits taken are put back:
// other fibers may rely on them.  None of these calls is ever resumed by SA_RESTART.
// M2: as in the kernel, a call sleeps on the files that it began with and asks about the numbers:
// one that is closed meanwhile does not end the call, and is POLLNVAL at its next look.
#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#include <new>

#include "interpose/hooks.h"
#include "interpose/io.h"
#include "shim/mask.h"

namespace pfiber::interpose {

namespace {

// Memory for one call: small ones on the stack.
template <class T, int kSmall>
class Scratch {
  public:
    explicit Scratch(size_t count) : bytes_(count * sizeof(T)) {
        if (count <= kSmall) return;
        const long memory = host::raw_mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        items_ = host::is_error(memory) ? nullptr : reinterpret_cast<T*>(memory);
        is_mapped_ = items_ != nullptr;
    }
    ~Scratch() {
        if (is_mapped_) host::raw_munmap(items_, bytes_);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    T* items() { return items_; }

  private:
    size_t bytes_;
    T small_[kSmall];
    T* items_ = small_;
    bool is_mapped_ = false;
};

uint8_t directions_of(int fd, short events) {
    uint8_t directions = kPriority;  // errors and hang-ups are reported unasked
    if ((events & (POLLIN | POLLRDNORM | POLLRDBAND | POLLRDHUP)) != 0) {
        directions |= kRead;
        // Takes notifications back without proving that there is nothing to receive.
        if ((events & (POLLIN | POLLRDNORM)) == 0) forget_short_reads(fd);
    }
    if ((events & (POLLOUT | POLLWRNORM | POLLWRBAND)) != 0) directions |= kWrite;
    return directions;
}

// The descriptors of one call.  Entries of the program that it cannot wait for have fd -1.
class Watch {
  public:
    Watch(Fiber* fiber, IoWaiter* waiters, uint8_t* had)
        : fiber_(fiber), waiters_(waiters), had_(had) {}
    ~Watch() {
        if (!has_private_) return;
        RuntimeSection::enter(fiber_);
        for (int i = 0; i < count_; i++)
            if (is_private_descriptor(waiters_[i].fd)) io_release_private(waiters_[i].fd);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        fiber_->depth--;
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    void add(int fd, uint8_t directions) {
        IoWaiter& waiter = waiters_[count_++];
        new (&waiter) IoWaiter;
        waiter.fd = fd;
        waiter.directions = directions;
    }
    // In the runtime.  False when nothing was taken back: an answer of before still holds.
    bool clear() {
        bool took = false;
        for (int i = 0; i < count_; i++) {
            Descriptor* descriptor = descriptor_if_known(waiters_[i].fd);
            had_[i] = 0;
            if (descriptor == nullptr) continue;
            const auto seen = static_cast<uint8_t>(
                descriptor->ready.load(std::memory_order_acquire) & waiters_[i].directions);
            if (seen == 0) continue;
            had_[i] = seen;
            took = true;
            descriptor->ready.fetch_and(static_cast<uint8_t>(~seen));
        }
        return took;
    }
    void restore() {
        for (int i = 0; i < count_; i++)
            if (had_[i] != 0) io_restore_ready(descriptor_if_known(waiters_[i].fd), had_[i]);
    }
    // In the runtime.
    Step wait(int64_t deadline_ns) {
        for (int i = 0; i < count_; i++) had_[i] = 0;
        for (;;) {
            if (shim::cancellation_is_due(fiber_)) return Step::kInterrupted;
            bool is_unpollable = false;
            const Wake outcome =
                io_wait(fiber_, waiters_, count_, deadline_ns, WaitReason::kPoll, &is_unpollable);
            if (is_unpollable) return Step::kUnpollable;
            if (outcome == Wake::kClosed && note_private())
                continue;  // sleeps on, on the duplicate
            return step_of(outcome);
        }
    }

  private:
    // Whether any file is waited for by a private duplicate.
    bool note_private() {
        for (int i = 0; i < count_; i++)
            if (is_private_descriptor(waiters_[i].fd)) has_private_ = true;
        return has_private_;
    }

    Fiber* fiber_;
    IoWaiter* waiters_;
    uint8_t* had_;
    int count_ = 0;
    bool has_private_ = false;
};

// The loop of every form, after a first look that found nothing.  look() asks the kernel without
// waiting; region() is the whole call in a region, for what epoll refuses.
template <class Look, class InRegion>
long watch_loop(Fiber* fiber, Watch& watch, shim::InterruptMark mark, int64_t deadline_ns,
                Look&& look, InRegion&& region) {
    bool looked = true;
    for (;;) {
        RuntimeSection::enter(fiber);
        const bool took = watch.clear();
        const long answer = looked && !took ? 0 : look();
        looked = false;
        Step step = Step::kRetry;
        if (answer != 0)
            watch.restore();
        else if (shim::interrupted_since(fiber, mark, false))  // after a wait that ended otherwise
            step = Step::kInterrupted;
        else
            step = watch.wait(deadline_ns);
        RuntimeSection::leave(fiber);
        if (answer != 0) return answer;
        switch (step) {
            case Step::kTimedOut:
                return look();
            case Step::kInterrupted:
                shim::cancellation_point(fiber);
                if (shim::interrupted_since(fiber, mark, false)) return -EINTR;
                break;
            case Step::kUnpollable:
                return region();
            default:
                break;
        }
    }
}

// Entries kept on the stack. Most threads wait for one or two descriptors, and a fiber's frames are
// the memory of an idle connection, so these have a frame of their own.
constexpr int kFewCount = 2, kSmallCount = 24;
constexpr unsigned long kMostDescriptors = 1 << 20;

// ---- poll

// Also a poll that does not wait answers EINTR when a signal is pending, the runtime's own
// included.
long poll_once(pollfd* fds, nfds_t count) {
    long answer;
    do answer = host::raw_syscall(SYS_poll, fds, count, 0);
    while (answer == -EINTR);
    return answer;
}

long poll_in_kernel(Fiber* fiber, pollfd* fds, nfds_t count, int64_t deadline_ns) {
    return timed_blocking_call(fiber, deadline_ns, 2, SYS_ppoll, fds, count, 0, nullptr, 8);
}

// After a first look that found nothing.
template <int kSmall>
[[gnu::noinline]] long poll_wait(Fiber* fiber, pollfd* fds, nfds_t count, int64_t deadline_ns,
                                 shim::InterruptMark mark) {
    Scratch<IoWaiter, kSmall> waiters(count);
    Scratch<uint8_t, kSmall> had(count);
    if (waiters.items() == nullptr || had.items() == nullptr) return -ENOMEM;
    Watch watch(fiber, waiters.items(), had.items());
    for (unsigned i = 0; i < count; i++)
        if (fds[i].fd >= 0) watch.add(fds[i].fd, directions_of(fds[i].fd, fds[i].events));
    return watch_loop(
        fiber, watch, mark, deadline_ns, [&] { return poll_once(fds, count); },
        [&] { return poll_in_kernel(fiber, fds, count, deadline_ns); });
}

// `is_masked`: a handler that the call's own mask let through ends it, whenever it ran.
long poll_on(Fiber* fiber, pollfd* fds, nfds_t count, int64_t deadline_ns, bool is_masked) {
    const shim::InterruptMark mark = shim::interrupt_mark(fiber);
    // The kernel checks the array before it is read here.
    const long first = poll_once(fds, count);
    if (first != 0 || deadline_ns == 0 || count > kMostDescriptors) return first;
    if (waits_in_kernel(fiber, is_masked)) return poll_in_kernel(fiber, fds, count, deadline_ns);
    return count <= kFewCount ? poll_wait<kFewCount>(fiber, fds, count, deadline_ns, mark)
                              : poll_wait<kSmallCount>(fiber, fds, count, deadline_ns, mark);
}

// ---- select: the same question to poll

using Word = unsigned long;

constexpr short kAskRead = POLLRDNORM | POLLRDBAND | POLLIN;
constexpr short kAskWrite = POLLWRBAND | POLLWRNORM | POLLOUT;

// What select(2) counts as an answer, in the order read, write, exceptional.  A number that was
// closed during the call is one; before it is EBADF.
bool is_answer(int set, short revents) {
    constexpr short kAnswers[3] = {kAskRead | POLLHUP | POLLERR | POLLNVAL,
                                   kAskWrite | POLLERR | POLLNVAL, POLLPRI | POLLNVAL};
    return (revents & kAnswers[set]) != 0;
}
short question(int set) {
    constexpr short kQuestions[3] = {kAskRead, kAskWrite, POLLPRI};
    return kQuestions[set];
}

bool has_bit(const fd_set* set, size_t word, Word bit) {
    return set != nullptr && (reinterpret_cast<const Word*>(set)[word] & bit) != 0;
}

// Bits of all three sets in one word, none from number `count` on.
Word any_bits(fd_set* const sets[3], size_t word, int count) {
    Word any = 0;
    for (int k = 0; k < 3; k++)
        if (sets[k] != nullptr) any |= reinterpret_cast<const Word*>(sets[k])[word];
    const size_t numbers = static_cast<size_t>(count) - word * 64;
    return numbers < 64 ? any & ((Word{1} << numbers) - 1) : any;
}

// Writes the answer into the program's sets; returns the number of bits.
long store_answer(fd_set* const sets[3], size_t words, int count, const pollfd* asked) {
    long bits = 0;
    for (size_t w = 0; w < words; w++) {
        Word out[3] = {};
        for (Word any = any_bits(sets, w, count); any != 0; any &= any - 1) {
            const Word bit = any & ~(any - 1);
            for (int k = 0; k < 3; k++) {
                if (!has_bit(sets[k], w, bit) || !is_answer(k, asked->revents)) continue;
                out[k] |= bit;
                bits++;
            }
            asked++;
        }
        for (int k = 0; k < 3; k++)
            if (sets[k] != nullptr) reinterpret_cast<Word*>(sets[k])[w] = out[k];
    }
    return bits;
}

// `total` bits are set in the sets.
template <int kSmall>
[[gnu::noinline]] long select_wait(Fiber* fiber, int count, unsigned total, fd_set* const sets[3],
                                   int64_t deadline_ns) {
    const shim::InterruptMark mark = shim::interrupt_mark(fiber);
    const size_t words = (static_cast<size_t>(count) + 63) / 64;
    Scratch<IoWaiter, kSmall> waiters(total);
    Scratch<uint8_t, kSmall> had(total);
    Scratch<pollfd, kSmall> asked(total);
    if (waiters.items() == nullptr || had.items() == nullptr || asked.items() == nullptr)
        return -ENOMEM;
    Watch watch(fiber, waiters.items(), had.items());
    unsigned at = 0;
    for (size_t w = 0; w < words; w++) {
        for (Word any = any_bits(sets, w, count); any != 0; any &= any - 1) {
            const Word bit = any & ~(any - 1);
            pollfd& entry = asked.items()[at++];
            entry = {static_cast<int>(w * 64) + __builtin_ctzl(bit), 0, 0};
            for (int k = 0; k < 3; k++)
                if (has_bit(sets[k], w, bit)) entry.events |= question(k);
            watch.add(entry.fd, directions_of(entry.fd, entry.events));
        }
    }
    // poll reports errors and hang-ups unasked; select does not count them for every set.
    bool is_first = true;
    const auto look = [&]() -> long {
        const long answer = poll_once(asked.items(), total);
        if (answer <= 0) return answer;
        bool is_any = false;
        for (unsigned i = 0; i < total; i++) {
            const pollfd& entry = asked.items()[i];
            if (is_first && (entry.revents & POLLNVAL) != 0) return -EBADF;
            for (int k = 0; k < 3; k++)
                if ((entry.events & question(k)) != 0 && is_answer(k, entry.revents)) is_any = true;
        }
        return is_any ? answer : 0;
    };
    long answer = look();
    is_first = false;
    if (answer == 0 && deadline_ns != 0)
        answer = watch_loop(fiber, watch, mark, deadline_ns, look, [&] {
            return poll_in_kernel(fiber, asked.items(), total, deadline_ns);
        });
    if (answer < 0) return answer;
    return store_answer(sets, words, count, asked.items());
}

long select_on(Fiber* fiber, int count, fd_set* const sets[3], int64_t deadline_ns) {
    if (count < 0) return -EINVAL;
    if (static_cast<unsigned>(count) > kMostDescriptors) count = kMostDescriptors;
    const size_t words = (static_cast<size_t>(count) + 63) / 64;
    for (int k = 0; k < 3; k++)
        if (sets[k] != nullptr && !can_write(sets[k], words * sizeof(Word))) return -EFAULT;
    unsigned total = 0;
    for (size_t w = 0; w < words; w++)
        total += static_cast<unsigned>(__builtin_popcountl(any_bits(sets, w, count)));
    return total <= kFewCount ? select_wait<kFewCount>(fiber, count, total, sets, deadline_ns)
                              : select_wait<kSmallCount>(fiber, count, total, sets, deadline_ns);
}

// What is ready now; the sets are written only then.  More than FD_SETSIZE: looked at in the wait.
long select_at_once(int count, fd_set* read, fd_set* write, fd_set* except) {
    if (count < 0 || count > FD_SETSIZE) return 0;
    fd_set* const sets[3] = {read, write, except};
    fd_set copies[3];
    const size_t bytes = (static_cast<size_t>(count) + 63) / 64 * 8;
    for (int i = 0; i < 3; i++)
        if (sets[i] != nullptr) memcpy(&copies[i], sets[i], bytes);
    const timespec nothing{};
    const auto copy = [&](int i) { return sets[i] != nullptr ? &copies[i] : nullptr; };
    const long ready =
        host::raw_syscall(SYS_pselect6, count, copy(0), copy(1), copy(2), &nothing, nullptr);
    for (int i = 0; ready > 0 && i < 3; i++)
        if (sets[i] != nullptr) memcpy(sets[i], &copies[i], bytes);
    return ready;
}

}  // namespace

}  // namespace pfiber::interpose

using namespace pfiber;
using namespace pfiber::interpose;

extern "C" {

int pf_poll(pollfd* fds, nfds_t count, int timeout) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr)
        return static_cast<int>(result(plain_call(SYS_poll, fds, count, timeout)));
    shim::cancellation_point(fiber);
    return static_cast<int>(result(poll_on(fiber, fds, count, deadline_of_ms(timeout), false)));
}

int pf_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) {
        timespec copy{};  // the kernel writes the time left
        if (!can_read_if_given(timeout)) return static_cast<int>(result(-EFAULT));
        if (timeout != nullptr) copy = *timeout;
        return static_cast<int>(result(
            plain_call(SYS_ppoll, fds, count, timeout != nullptr ? &copy : nullptr, mask, 8)));
    }
    shim::cancellation_point(fiber);
    if (!can_read_if_given(timeout) || !can_read_mask(mask))
        return static_cast<int>(result(-EFAULT));
    if (is_bad(timeout)) return static_cast<int>(result(-EINVAL));
    if (mask != nullptr) {  // what is ready comes before a signal that the mask opens
        const long ready = host::raw_syscall(SYS_poll, fds, count, 0);
        if (ready != 0) return static_cast<int>(result(ready));
    }
    const shim::InterruptMark mark = shim::interrupt_mark(fiber);
    const shim::MaskGuard guard(fiber, mask);
    if (mask != nullptr && shim::interrupted_since(fiber, mark, false))
        return static_cast<int>(result(-EINTR));
    return static_cast<int>(
        result(poll_on(fiber, fds, count, deadline_of(timeout), mask != nullptr)));
}

int pf___poll_chk(pollfd* fds, nfds_t count, int timeout, size_t room) {
    if (room / sizeof *fds < count) __chk_fail();
    return pf_poll(fds, count, timeout);
}

int pf___ppoll_chk(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask,
                   size_t room) {
    if (room / sizeof *fds < count) __chk_fail();
    return pf_ppoll(fds, count, timeout, mask);
}

int pf_pselect(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout,
               const sigset_t* mask) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) {
        timespec copy{};
        if (!can_read_if_given(timeout)) return static_cast<int>(result(-EFAULT));
        if (timeout != nullptr) copy = *timeout;
        const struct {
            const sigset_t* mask;
            size_t size;
        } with_size{mask, 8};
        return static_cast<int>(
            result(plain_call(SYS_pselect6, count, read, write, except,
                              timeout != nullptr ? &copy : nullptr, &with_size)));
    }
    shim::cancellation_point(fiber);
    if (!can_read_if_given(timeout) || !can_read_mask(mask))
        return static_cast<int>(result(-EFAULT));
    if (is_bad(timeout)) return static_cast<int>(result(-EINVAL));
    if (mask != nullptr) {
        const long ready = select_at_once(count, read, write, except);
        if (ready != 0) return static_cast<int>(result(ready));
    }
    const shim::InterruptMark mark = shim::interrupt_mark(fiber);
    const shim::MaskGuard guard(fiber, mask);
    if (mask != nullptr && shim::interrupted_since(fiber, mark, false))
        return static_cast<int>(result(-EINTR));
    fd_set* const sets[3] = {read, write, except};
    return static_cast<int>(result(select_on(fiber, count, sets, deadline_of(timeout))));
}

// Linux writes the time left, also when a signal ends the wait.
int pf_select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout) {
    Fiber* fiber = calling_fiber();
    timespec left{};
    if (timeout != nullptr) {
        if (!can_read(timeout)) return static_cast<int>(result(-EFAULT));
        if (timeout->tv_sec < 0 || timeout->tv_usec < 0) return static_cast<int>(result(-EINVAL));
        constexpr int64_t kSecond = 1000000;
        left = {timeout->tv_sec, (timeout->tv_usec % kSecond) * 1000};
        if (__builtin_add_overflow(left.tv_sec, timeout->tv_usec / kSecond, &left.tv_sec))
            left = {INT64_MAX, 999999999};
    }
    long answer = 0;
    if (fiber == nullptr) {
        answer = plain_call(SYS_pselect6, count, read, write, except,
                            timeout != nullptr ? &left : nullptr, nullptr);
    } else {
        shim::cancellation_point(fiber);
        fd_set* const sets[3] = {read, write, except};
        const int64_t deadline = deadline_of(timeout != nullptr ? &left : nullptr);
        answer = select_on(fiber, count, sets, deadline);
        if (timeout != nullptr) left = to_timespec(deadline - Platform::now_ns());
    }
    if (timeout != nullptr) *timeout = {left.tv_sec, left.tv_nsec / 1000};
    return static_cast<int>(result(answer));
}

}  // extern "C"
