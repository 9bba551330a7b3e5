// Simulator's stand-in for scheduler/host/libc.h: a random share of the moments counts as "in
// libc".
#pragma once

namespace pfiber::host {

bool is_in_libc_or_loader(unsigned long pc);
inline void resolve_libc() {}
inline bool wants_executable_stacks() { return false; }

}  // namespace pfiber::host
