// The stacks of fibers that do not run, for `pfiber dump --stacks`.
#pragma once

#include <cstddef>

#include "scheduler/base/stack_record.h"

namespace pfiber {
struct Fiber;
}

namespace pfiber::shim {

constexpr size_t kStackPartBytes = 128 * 1024;
constexpr size_t kStackMessageBytes =
    sizeof(StackRecord) + 2 * (sizeof(StackPart) + kStackPartBytes);

// Writes the fiber's StackRecord and parts to `message`, which has room for kStackMessageBytes, and
// returns their size.  The monitor's thread: no malloc, no lock.
size_t copy_stack_message(const Fiber* fiber, unsigned char* message);

// What stands on stacks is for those who may send signals to us: the reader's name could be
// somebody else's by now.
bool may_read_stacks(int socket);

}  // namespace pfiber::shim
