// Random delays at protocol steps, from PFIBER_CHAOS_SEED: they make rare interleavings common.
#include "scheduler/platform.h"

namespace pfiber {

void LinuxPlatform::chaos_delay() {
    static std::atomic<uint64_t> steps{0};
    // A hash of seed and step: the same seed gives the same mix of delays, whoever comes first.
    uint64_t x = chaos_seed + steps.fetch_add(1, std::memory_order_relaxed) * 0x9e3779b97f4a7c15u;
    x ^= x >> 31;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    const unsigned choice = x & 1023;
    if (choice < 900) return;
    if (choice < 980) {
        for (unsigned i = 0; i < (x >> 10 & 255); i++) pause();
    } else if (choice < 1018) {
        host::raw_syscall(SYS_sched_yield);
    } else {
        timespec nap{0, static_cast<long>(x >> 10 & 0xffff)};
        host::raw_syscall(SYS_nanosleep, &nap, nullptr);
    }
}

}  // namespace pfiber
