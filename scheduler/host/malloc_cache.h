// What libc's malloc keeps for a thread (tcache), and its return when the thread has ended.
//
// libc empties a thread's cache at its end.  A block that is used again would keep it, and what
// lies there splits the free memory of its arena: with a small M_MMAP_THRESHOLD (stunnel) the next
// thread then maps memory for what its arena had room for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pfiber::host {

// Nobody has put another one in its place.  May wait for the loader's lock.
bool malloc_is_libcs();

// In a new kernel thread that has not called malloc yet: looks for the word of libc's TLS block,
// `words` (0: nothing to look for) from `low` bytes off the thread pointer on, that points to the
// cache, and checks that the cache looks as expected.  Else (another malloc, another libc) nothing
// is ever emptied.
void malloc_cache_probe(ptrdiff_t low, size_t words);

// Frees what the cache in the block of an ended thread holds.  Calls free: outside the runtime.
void malloc_cache_empty(uintptr_t tp);

}  // namespace pfiber::host
