// See timer_target.h.
#include "shim/timer_target.h"

#include <atomic>

#include "scheduler/runtime.h"

namespace pfiber::shim {

namespace {

constexpr int kMost = 1024;
constexpr int kFree = 0, kWritten = 1, kLive = 2, kDeleted = 3;

// Read by handlers, so without a lock.
class Targets {
  public:
    bool add(int key, const Fiber* fiber) {
        forget(key);
        const int order[] = {kFree, kDeleted};
        for (const int wanted : order)
            for (int i = 0; i < kMost; i++)
                if (take(i, wanted, key, fiber)) return true;
        return false;
    }

    // The entry stays until its place is needed: a signal may still be under way, and natively the
    // deletion would have taken it back.
    void remove(int key) {
        for (int i = 0; i < used_.load(); i++) {
            int live = kLive;
            if (entries_[i].key.load() == key)
                entries_[i].state.compare_exchange_strong(live, kDeleted);
        }
    }

    TimerSignal find(bool (*is_wanted)(int, const siginfo_t*), const siginfo_t* info,
                     Fiber** fiber) const {
        TimerSignal found = TimerSignal::kProcess;
        for (int i = 0; i < used_.load(); i++) {
            if (!is_wanted(entries_[i].key.load(), info)) continue;
            const int state = entries_[i].state.load();
            if (state != kDeleted && state != kLive) continue;
            found = TimerSignal::kDeleted;
            if (state == kLive) *fiber = fiber_with_tid(entries_[i].tid.load());
            if (*fiber != nullptr) return TimerSignal::kFiber;
        }
        return found;
    }

    int tid_of(int key) const {
        for (int i = 0; i < used_.load(); i++)
            if (entries_[i].key.load() == key && entries_[i].state.load() == kLive)
                return static_cast<int>(entries_[i].tid.load());
        return 0;
    }

    void clear() {
        for (int i = 0; i < used_.load(); i++) entries_[i].state.store(kFree);
        used_.store(0);
    }

  private:
    struct Entry {
        std::atomic<int> state{kFree};
        std::atomic<int> key{0};
        std::atomic<uint32_t> tid{0};
    };

    // The kernel gave the number of a deleted one to a new one.
    void forget(int key) {
        remove(key);
        for (int i = 0; i < used_.load(); i++) {
            int deleted = kDeleted;
            if (entries_[i].key.load() == key)
                entries_[i].state.compare_exchange_strong(deleted, kFree);
        }
    }

    bool take(int i, int wanted, int key, const Fiber* fiber) {
        int state = wanted;
        if (!entries_[i].state.compare_exchange_strong(state, kWritten)) return false;
        entries_[i].key.store(key);
        entries_[i].tid.store(fiber->tid);
        entries_[i].state.store(kLive);
        int highest = used_.load();
        while (highest <= i && !used_.compare_exchange_weak(highest, i + 1)) {
        }
        return true;
    }

    Entry entries_[kMost];
    std::atomic<int> used_{0};  // highest entry ever used, so that most processes look at none
};

Targets timers, descriptors;

bool is_of_timer(int timer, const siginfo_t* info) { return timer == info->si_timerid; }

// Without F_SETSIG the signal does not tell the descriptor.
bool is_of_descriptor(int fd, const siginfo_t* info) {
    return info->si_code == SI_KERNEL || fd == info->si_fd;
}

bool is_of_some_descriptor(const siginfo_t* info) {
    const int signal = info->si_signo;
    if (info->si_code == SI_KERNEL) return signal == SIGIO || signal == SIGURG;
    return info->si_code >= POLL_IN && info->si_code <= POLL_HUP &&
           (signal >= 32 || signal == SIGIO || signal == SIGUSR1 || signal == SIGUSR2);
}

}  // namespace

bool timer_target_add(int timer, const Fiber* fiber) { return timers.add(timer, fiber); }
void timer_target_remove(int timer) { timers.remove(timer); }
bool descriptor_target_add(int fd, const Fiber* fiber) { return descriptors.add(fd, fiber); }
void descriptor_target_remove(int fd) { descriptors.remove(fd); }
int descriptor_target_tid(int fd) { return descriptors.tid_of(fd); }

TimerSignal timer_target(const siginfo_t* info, Fiber** fiber) {
    *fiber = nullptr;
    if (info->si_code == SI_TIMER) return timers.find(is_of_timer, info, fiber);
    if (!is_of_some_descriptor(info)) return TimerSignal::kProcess;
    const TimerSignal found = descriptors.find(is_of_descriptor, info, fiber);
    // Another owner, a process, may have been named since.
    return *fiber != nullptr ? found : TimerSignal::kProcess;
}

void timer_targets_after_fork() {
    timers.clear();
    descriptors.clear();
}

}  // namespace pfiber::shim
