// The stacks of all fibers that do not run, for `pfiber dump --stacks`.
#pragma once

namespace pfiber::shim {

// Writes what scheduler/base/stack_record.h describes to the connected socket.  The monitor's
// thread: no malloc, no lock, and no longer than the reader takes it; one that stands still for
// three seconds gets no more.
void send_stacks(int socket);

}  // namespace pfiber::shim
