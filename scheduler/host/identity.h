// A fiber's identity: a complete glibc thread block (static TLS, struct pthread, DTV) that no
// kernel thread owns.  %fs moves with the fiber, so errno, __thread, malloc's cache, stdio lock
// owners, C++ exception state and pthread_self() are right by construction.
//
// No offset is hard-coded: glibc publishes some in its _thread_db_* symbols, one real probe thread
// yields the rest and the byte image that new blocks start from.  Published, probed and template
// values must agree, or identity_probe() says no and the process runs natively.
//
// A block lives at the top of a stack slot: [ static TLS | struct pthread ], thread pointer between
// the two (x86-64 variant II).  Blocks are linked into glibc's list of user-stack threads, because
// initial-exec TLS of a later dlopen is initialised by walking that list; they are never unlinked,
// slots are never unmapped.  Only fork empties the list in the child.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pfiber::host {

struct IdentityLayout {
    size_t pthread_size = 0;     // bytes at and above the thread pointer
    size_t static_tls_size = 0;  // bytes below it
    size_t alignment = 64;
    size_t tid = 0, list = 0, cancelhandling = 0, specific = 0, specific_first_block = 0;
    size_t robust_head = 0, stack_block = 0, user_stack = 0, resolver = 0, rseq = 0;
    ptrdiff_t destructors = 0;       // libc's list of thread_local destructors; 0: not found
    ptrdiff_t resolver_pointer = 0;  // the TLS slot __resp, relative to the thread pointer
};

extern IdentityLayout identity_layout;

// Starts and joins one real thread.  Main thread, before any fiber.  False (with a reason that is a
// constant string) when this libc's layout is not understood.
// *error is the errno of a call that failed.
bool identity_probe(const char** reason, long* error);

// Builds a block around thread pointer `tp` in zeroed memory.  Calls the program's calloc: only
// with no runtime lock held and outside the runtime.  False: no memory.
bool identity_create(uintptr_t tp);

// Whether glibc's list has nobody but the thread block of `survivor`; in a fork child, while there
// is one thread.
bool identity_list_is_emptied(uintptr_t survivor);
// Links a block that identity_create() made into the list again.
void identity_list(uintptr_t tp);

// Makes a used block fresh again: TLS images of every module but libc's own, whose malloc cache is
// emptied, dynamic TLS blocks freed, errno and locale reset.  May call the program's free.
void identity_recycle(uintptr_t tp);

// Sets what differs per fiber.  Stack bounds are what pthread_getattr_np would tell.
void identity_assign(uintptr_t tp, uint32_t tid, uintptr_t stack_low, size_t stack_size,
                     size_t guard_size);

// A minimal block for a kernel thread of the runtime that never enters libc: stack and pointer
// guards and self pointers only.  Not in glibc's lists.  Any context.
void identity_create_bare(uintptr_t tp);

// Fork child: locks may have been held by threads that do not exist.
void identity_after_fork();

// Call once on the fiber itself before user code: ctype tables and resolver pointer.
void identity_enter();

// The calling kernel thread and all later ones stay unregistered from rseq: a fiber that forks
// would crash its child otherwise, and a migrating fiber would see a stale cpu number.
void identity_disable_rseq();

void set_tid_field(uintptr_t tp, uint32_t tid);
void* tid_field(uintptr_t tp);

// In a fork child: an empty robust list, registered for the one kernel thread.  Any thread.
void reset_robust_list(uintptr_t tp);

// Before the probe has run, fork needs the published offsets already.
bool identity_offsets_known();

// A copy of a __thread variable of this object in another block.
template <class T>
T* tls_at(uintptr_t tp, T* mine) {
    uintptr_t own;
    __asm__("mov %%fs:0x10, %0" : "=r"(own));
    return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(mine) - own + tp);
}

inline uintptr_t thread_pointer() {
    uintptr_t tp;
    __asm__ volatile("mov %%fs:0x10, %0" : "=r"(tp));
    return tp;
}

}  // namespace pfiber::host
