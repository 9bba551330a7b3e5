// The handful of libc's own functions that the runtime itself needs, looked up once before the
// first fiber.  The exported names belong to hooks of ours, so nothing below interpose/ may call
// them by name.  Filled by resolve_libc() on the main thread; read anywhere afterwards.
#pragma once

#include <link.h>
#include <pthread.h>

namespace pfiber::host {

struct RealLibc {
    int (*pthread_create)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    int (*pthread_join)(pthread_t, void**);
    int (*pthread_getattr_np)(pthread_t, pthread_attr_t*);
    void (*pthread_exit)(void*);
    int (*dl_iterate_phdr)(int (*)(dl_phdr_info*, size_t, void*), void*);
};

extern RealLibc real;

// Looks every name up behind this object (RTLD_NEXT).  Idempotent; single-threaded callers only.
void resolve_libc();

// libc's own definition of `name`, or null.  May allocate; not under a runtime lock.
void* libc_symbol(const char* name);

// Whether an object that is loaded now has the note of Go's linker (owner "Go", type 4): Go's
// runtime is in it.  After resolve_libc().
bool go_runtime_is_loaded();

// Address ranges that preemption must know: libc, ld.so, this object, the vDSO.
bool is_in_libc_or_loader(unsigned long pc);
bool is_in_loader_data(const void* address);

}  // namespace pfiber::host
