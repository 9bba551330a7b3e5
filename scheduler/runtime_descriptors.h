// The descriptors that the runtime itself has open: out of the program's reach and sight.
//
// Each stands at a number that the program cannot have (above its limit) or as high as possible, is
// closed in the child of a fork, is skipped by close loops and moves when the program takes its
// number with dup2.
#pragma once

#include <sys/resource.h>

namespace pfiber {

struct Descriptor;

// `more` numbers than the limit has, or as many as the hard limit leaves; beyond that only where it
// leaves none, since it takes privilege.
rlimit raised_limit(const rlimit& limit, rlim_t more);

// A duplicate of `fd` out of the program's way, close-on-exec, for calls that wait on a number
// which the program closes; with one reference to it, the caller's (*copy null: no memory to count
// them, and it is visible).  -1: no number is left.  Any thread, in the runtime.
int duplicate_private(int fd, Descriptor** copy);
bool is_private_descriptor(int fd);  // any thread

// Takes a descriptor that was just created (or -errno) for the runtime and returns the number that
// it has from now on, -1 for an error.  One caller at a time: the start, and who makes more
// processors (world lock).
int runtime_descriptor_adopt(long created);
// Closes one of them again; nothing for a negative number.  Callers as above.
void runtime_descriptor_drop(int fd);
void runtime_descriptors_close();  // child of a fork, before its second thread

bool is_runtime_descriptor(int fd);  // any thread
// The program takes this number (dup2): the runtime goes elsewhere.  False: no number is left.
bool evade_runtime_descriptor(int fd);
int next_runtime_descriptor(int first);  // the lowest one from `first` on; -1: none

}  // namespace pfiber
