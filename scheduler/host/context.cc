// See context.h.
#include "scheduler/host/context.h"

#include <sys/auxv.h>

namespace pfiber::host {

bool has_fsgsbase;

void detect_fsgsbase() {
    constexpr unsigned long kFsgsbase = 2;  // HWCAP2_FSGSBASE
    has_fsgsbase = (getauxval(AT_HWCAP2) & kFsgsbase) != 0;
}

}  // namespace pfiber::host
