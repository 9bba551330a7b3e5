// What interrupts a wait: signal handlers that ran on this fiber, and cancellation.
//
// A wait that ends with Wake::kSignal or kCancel says only "look".  Handlers run by themselves when
// the fiber leaves the runtime (RuntimeSection's destructor).  So a blocking hook does:
//
//     cancellation_point(fiber);                    // entry, outside the runtime
//     const InterruptMark mark = interrupt_mark(fiber);
//     for (;;) {
//         { RuntimeSection section(fiber); … try, or park unless cancellation_is_due(fiber) … }
//                                                   // handlers run here
//         if (done) break;
//         cancellation_point(fiber);                // may not return
//         if (interrupted_since(fiber, mark, restartable)) return -EINTR;
//     }
//
// restartable: the call is one that SA_RESTART resumes (signal(7)); others see EINTR from any
// handler. Waits that are no cancellation points (mutexes) leave the two middle lines out and wait
// on.
#pragma once

#include <cstdint>

#include "scheduler/runtime.h"

namespace pfiber::shim {

struct InterruptMark {
    uint32_t handlers = 0;         // program handlers that ran on this fiber
    uint32_t without_restart = 0;  // those of them installed without SA_RESTART
};

// The counts of the calling fiber, and whether they say EINTR since then.
InterruptMark interrupt_mark(const Fiber* fiber);
bool interrupted_since(const Fiber* fiber, InterruptMark mark, bool restartable);

// Acts on a pending cancellation request when cancellation is enabled: unwinds and does not return.
// Outside the runtime; frames above must be exception-safe (-fexceptions), hold no runtime object.
void cancellation_point(Fiber* fiber);
// A request is pending and enabled: cancellation_point() would not return.  Asked in the runtime
// before each wait: what came between the last point and the entry has left no note, what comes
// after the entry ends the wait.
bool cancellation_is_due(const Fiber* fiber);

}  // namespace pfiber::shim
