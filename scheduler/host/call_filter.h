// Calls of ours for which a seccomp filter of the program's would kill, or raise SIGSYS.
//
// The runtime makes calls that the program would not: reads of pipes by preadv2, questions about a
// socket, timers.  A filter that the program installs for itself knows nothing of those, so each
// one is run here over our calls before it is installed; what it does not let return, and what
// there is another way for, is not made again.  Filters from before the load cannot be read: under
// them no call is made that services' filters kill for (thread_state.cc).
#pragma once

#include <errno.h>

#include <atomic>
#include <cstdint>

#include "scheduler/host/syscall.h"

struct sock_fprog;

namespace pfiber::host {

enum OptionalCall : uint32_t {
    kReadNoWait = 1,  // preadv2 with RWF_NOWAIT
    kWriteNoWait = 2,
    kGetsockopt = 4,
    kTimerCreate = 8,
    kSigtimedwait = 16,
    kMembarrier = 32,
    kProcessVmReadv = 64,
    kOpenat = 128,
    kSchedGetaffinity = 256,
};

inline std::atomic<uint32_t> g_filtered_calls{0};

inline bool is_filtered(uint32_t calls) {
    return __builtin_expect((g_filtered_calls.load(std::memory_order_relaxed) & calls) != 0, 0);
}

// -EPERM in place of a call that is filtered.
template <class... A>
long optional_syscall(OptionalCall call, long number, A... arguments) {
    return is_filtered(call) ? -EPERM : raw_syscall(number, arguments...);
}

// Before prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program) or seccomp(2) alike, on any thread.
// A pointer that cannot be read is left to the kernel to refuse.
void note_call_filter(const sock_fprog* program);

}  // namespace pfiber::host
