// Looking inside: Go's schedtrace line and the dump of every fiber.
#pragma once

#include <cstdint>

#include "scheduler/host/report.h"

namespace pfiber {

struct Fiber;
using NameOf = const char* (*)(const void* client);

// Prints one line in Go's format.  Monitor thread.
void schedtrace_line();

// Writes every fiber (id, name, state, wait reason, age) to descriptor `fd`.  Name comes from the
// layer above.  Any thread in the runtime, not while the registry is locked by it.
void dump_fibers(int fd, NameOf name_of);
// One line of it, without the newline.  The fiber may be run, finished or used again meanwhile.
void describe_fiber(const Fiber* fiber, NameOf name_of, int64_t now_ns, host::Line* line);

}  // namespace pfiber
