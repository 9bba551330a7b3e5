// First aid from outside: SIGQUIT and `pfiber dump PID` list every fiber.
#pragma once

#include <signal.h>

#include <cstdint>

namespace pfiber::shim {

// While SIGQUIT has its default disposition: prints every fiber, then acts as native does.  Called
// after each change of the disposition, with no lock that a handler could need.
void watch_quit();
// From now on the kernel performs it at once, without a list: whoever sends it is this process.
void unwatch_quit();

// `pfiber dump` queues the preemption signal with a value that carries this tag and its own pid;
// the fibers are written to its abstract socket (dump.h).  In a handler; takes the request.
constexpr uint64_t kDumpTag = 0x7066696200000000;  // "pfib", the launcher's pid in the low half
bool is_dump_request(const siginfo_t* info);

// The monitor's thread: MonitorRequest bits; those that are to be served at its next round, too.
uint32_t serve_requests(uint32_t requests);

}  // namespace pfiber::shim
