// Spin locks: the holder may be a fiber that does not run, so a spinner soon lets others run.
#include <time.h>

#include "scheduler/runtime.h"
#include "shim/barrier.h"

namespace pfiber::shim {

namespace {

constexpr int kSpins = 100;
constexpr int kYields = 64;  // then the holder is likely in a system call or preempted
constexpr int64_t kNapNs = 50 * 1000;

void give_way(int round) {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) {
        host::raw_syscall(SYS_sched_yield);
        return;
    }
    RuntimeSection section(fiber);
    if (round < kYields) {
        yield(fiber);
        return;
    }
    fiber->park.arm();
    park(fiber, WaitReason::kMutex, Platform::now_ns() + kNapNs);
}

}  // namespace

void spin_lock(Spin* spin) {
    for (int round = 0; !spin_trylock(spin); round++) {
        int left = kSpins;
        while (spin->word.load(std::memory_order_relaxed) != Spin::kFree && left-- > 0)
            Platform::pause();
        if (left < 0) give_way(round);
    }
}

}  // namespace pfiber::shim
