// Simulator's stand-in for scheduler/host/touch.h: all memory is there.
#pragma once

namespace pfiber::host {

inline bool touch_read(const void*) { return true; }

}  // namespace pfiber::host
