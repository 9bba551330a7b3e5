// Looking inside: Go's schedtrace line and the dump of every fiber.
#pragma once

#include <cstdint>

namespace pfiber {

// Prints one line in Go's format.  Monitor thread.
void schedtrace_line();

// Writes every fiber (id, name, state, wait reason, age) to descriptor `fd`.  Name comes from the
// layer above.  Any thread in the runtime, not while the registry is locked by it.
void dump_fibers(int fd, const char* (*name_of)(const void* client));

}  // namespace pfiber
