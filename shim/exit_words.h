// What a thread asks the kernel, by number, to do at its end: set_robust_list(2) and
// set_tid_address(2).  The kernel's own registrations belong to workers, so a fiber's are kept here
// and served when it ends.
#pragma once

#include <cstddef>

#include "scheduler/fiber.h"

namespace pfiber::shim {

// In the kernel's form: 0 or -errno.  On the calling fiber; `tid` 0 or a fiber's own.
long exit_robust_list_set(const void* head, size_t length);
// The list that `fiber` registered, libc's own by default.
long exit_robust_list_get(const Fiber* fiber, void** head, size_t* length);
// The word that is cleared and woken at the end.  Its tid.
long exit_tid_address_set(Fiber* fiber, int* word);
// That word, in libc's block of the thread by default; null after a null was set.
int* exit_tid_address_get(const Fiber* fiber);

// At the end of a fiber, on it: marks what it still holds of its own list as left by a dead owner,
// then clears the word (Linux: exit_robust_list, mm_release).
void exit_words_serve(const Fiber* fiber);

}  // namespace pfiber::shim
