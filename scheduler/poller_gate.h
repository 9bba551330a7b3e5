// At most one kernel thread looks into an epoll instance: a second one would only wait for its
// mutex.  It leaves a note instead, because the event that sent it may have come after the first
// one looked, and the sleeper's edge for it is used up (B3).
//
//     if (!gate.enter()) return;      // somebody is inside and will look again
//     do look(); while (!gate.leave());
//
// Every change of the word is a locked operation.  A plain store on the way back inside could stay
// in the store buffer while the next look finds nothing, and then overwrite a new note.
#pragma once

#include <atomic>
#include <cstdint>

namespace pfiber {

template <class P>
class PollerGate {
  public:
    // After the event.  False: another thread is inside; it was told to look again.
    bool enter() {
        uint32_t inside = kFree;
        while (!word_.compare_exchange_weak(inside, inside == kFree ? kInside : kLookAgain,
                                            std::memory_order_acq_rel)) {
        }
        return inside == kFree;
    }

    // False: somebody left a note; look again first.
    bool leave() {
        uint32_t inside = kInside;
        if (word_.compare_exchange_strong(inside, kFree, std::memory_order_acq_rel)) return true;
        word_.exchange(kInside, std::memory_order_acq_rel);
        return false;
    }

  private:
    static constexpr uint32_t kFree = 0, kInside = 1, kLookAgain = 2;

    typename P::template Atomic<uint32_t> word_{kFree};
};

}  // namespace pfiber
