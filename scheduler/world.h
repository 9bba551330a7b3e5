// How many processors there are, and changing that while fibers run (Go: GOMAXPROCS).
#pragma once

namespace pfiber {

// Before the start: what a start would give.  Any thread; a signal handler only after the start.
int processor_count();

// Go: GOMAXPROCS(n).  Makes it `wanted` (1..1024, more counts as 1024; less only asks) and returns
// the former number.  Stops the world; a failure (memory, descriptors) leaves the number as it was
// and says so in one line.  Turns automatic updates off.  A fiber outside the runtime and outside
// signal handlers, or a foreign thread.
int set_processor_count(int wanted);

// Go: SetDefaultGOMAXPROCS.  As at the start: affinity and cgroup limit decide, and are followed
// from now on, even where GOMAXPROCS is set.  Returns the former number.  Callers as above.
int set_default_processor_count();

}  // namespace pfiber
