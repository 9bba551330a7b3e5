// See timer_target.h.
#include "shim/timer_target.h"

#include <atomic>

#include "scheduler/runtime.h"

namespace pfiber::shim {

namespace {

constexpr int kMost = 1024;
constexpr int kFree = 0, kWritten = 1, kLive = 2, kDeleted = 3;
struct Entry {
    std::atomic<int> state{kFree};
    std::atomic<int> timer{0};
    std::atomic<uint32_t> tid{0};
};
Entry entries[kMost];
std::atomic<int> used{0};  // highest entry ever used, so that most processes look at none

// The kernel gave the number of a deleted timer to a new one.
void timer_target_forget(int timer) {
    for (int i = 0; i < used.load(); i++) {
        int deleted = kDeleted;
        if (entries[i].timer.load() == timer)
            entries[i].state.compare_exchange_strong(deleted, kFree);
    }
}

}  // namespace

bool timer_target_add(int timer, const Fiber* fiber) {
    timer_target_forget(timer);
    const int order[] = {kFree, kDeleted};
    for (const int wanted : order) {
        for (int i = 0; i < kMost; i++) {
            int state = entries[i].state.load();
            if (state != wanted || !entries[i].state.compare_exchange_strong(state, kWritten))
                continue;
            entries[i].timer.store(timer);
            entries[i].tid.store(fiber->tid);
            entries[i].state.store(kLive);
            int highest = used.load();
            while (highest <= i && !used.compare_exchange_weak(highest, i + 1)) {
            }
            return true;
        }
    }
    return false;
}

// The entry stays until its place is needed: a signal of the deleted timer may still be under way,
// and natively the deletion would have taken it back.
void timer_target_remove(int timer) {
    for (int i = 0; i < used.load(); i++) {
        int live = kLive;
        if (entries[i].timer.load() == timer)
            entries[i].state.compare_exchange_strong(live, kDeleted);
    }
}

TimerSignal timer_target(const siginfo_t* info, Fiber** fiber) {
    *fiber = nullptr;
    if (info->si_code != SI_TIMER) return TimerSignal::kProcess;
    for (int i = 0; i < used.load(); i++) {
        if (entries[i].timer.load() != info->si_timerid) continue;
        const int state = entries[i].state.load();
        if (state == kDeleted) return TimerSignal::kDeleted;
        if (state != kLive) continue;
        *fiber = fiber_with_tid(entries[i].tid.load());
        return *fiber == nullptr ? TimerSignal::kDeleted : TimerSignal::kFiber;
    }
    return TimerSignal::kProcess;
}

void timer_targets_after_fork() {
    for (int i = 0; i < used.load(); i++) entries[i].state.store(kFree);
    used.store(0);
}

}  // namespace pfiber::shim
