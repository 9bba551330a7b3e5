// See context.h.
#include "scheduler/host/context.h"

#include <sys/auxv.h>

#include "scheduler/host/identity.h"

namespace pfiber::host {

bool has_fsgsbase;

bool detect_fsgsbase() {
    constexpr unsigned long kFsgsbase = 2;  // HWCAP2_FSGSBASE
    has_fsgsbase = (getauxval(AT_HWCAP2) & kFsgsbase) != 0;
    if (has_fsgsbase) return true;
    // A filter may forbid what fibers then need at every switch.
    constexpr long kSetFs = 0x1002;  // ARCH_SET_FS
    return raw_syscall(SYS_arch_prctl, kSetFs, static_cast<long>(thread_pointer())) == 0;
}

}  // namespace pfiber::host
