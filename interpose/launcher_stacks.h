// `pfiber dump --stacks`: the launcher's half.
#pragma once

#include <sys/types.h>

#include <string>

namespace pfiber {

// False, with one line: libunwind is not there.
bool can_print_stacks();

// `bytes`: what came after the list and its zero byte.  False, with one line, where that is not
// what it should be.  After can_print_stacks().
bool print_stacks(pid_t process, const std::string& bytes);

}  // namespace pfiber
