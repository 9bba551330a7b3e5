// `pfiber dump PID`: the list of all fibers, and copies of their stacks, to the launcher's socket.
//
// The monitor's thread sends a part at each of its rounds and never waits for the reader, so a
// launcher that stands still keeps nobody from anything; no lock is held while bytes leave.
#pragma once

#include <cstdint>

namespace pfiber::shim {

constexpr uint64_t kDumpStacks = 0x40000000;  // in the launcher's pid: the stacks, too (stacks.h)

// Somebody asks, with pid and perhaps kDumpStacks.  Anywhere.
void dump_request(uint32_t who);
// The monitor's thread.  True: it goes on at the next round.
bool dump_serve();
// To standard error or the log, for SIGQUIT.  The monitor's thread; waits for the reader as long
// as host::Patience says.
void dump_to_messages();
void dump_after_fork();  // in the child

}  // namespace pfiber::shim
