// Futexes with priority inheritance as programs use them through syscall(2): the word holds the
// owner's id, which for a fiber is one that the kernel does not know.
#pragma once

#include "shim/abi.h"
#include "shim/deadline.h"

namespace pfiber::shim {

// Results: 0 or -errno, as the system call's.  Any thread, outside the runtime.

// FUTEX_LOCK_PI and FUTEX_LOCK_PI2; never interrupted.  The word may be read and written.
long futex_lock_pi(Word* word, const Deadline& deadline);
long futex_trylock_pi(Word* word);  // -EAGAIN: somebody has it
long futex_unlock_pi(Word* word);   // -EPERM: it is not the caller's

// False: the word names a thread of this process that is not there.
bool futex_owner_exists(const Word* word);
// The word's owner is a thread of this process that the kernel does not know by that number.
bool futex_owner_is_fiber(const Word* word);

}  // namespace pfiber::shim
