// The handful of libc's own functions that the runtime itself needs, looked up once before the
// first fiber.  The exported names belong to hooks of ours, so nothing below interpose/ may call
// them by name.  Filled by resolve_libc() on the main thread; read anywhere afterwards.
#pragma once

#include <link.h>
#include <pthread.h>
#include <stddef.h>

namespace pfiber::host {

struct RealLibc {
    int (*pthread_create)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    int (*pthread_join)(pthread_t, void**);
    int (*pthread_getattr_np)(pthread_t, pthread_attr_t*);
    void (*pthread_exit)(void*);
    int (*dl_iterate_phdr)(int (*)(dl_phdr_info*, size_t, void*), void*);
};

extern RealLibc real;

// Looks every name up in libc itself.  Idempotent; single-threaded callers only.
void resolve_libc();

// The definition of `name` behind this object: libc's own, unless another preloaded object has one.
// Null: there is none.  May allocate; not under a runtime lock.
void* libc_symbol(const char* name);

// libc's own function of that name, whatever other objects define, without a call of the loader's
// that another object may have replaced and that may wait for a lock which our caller holds.  Null:
// there is none, or it is chosen at load (IFUNC).
struct LibcFunction {
    void* address = nullptr;
    size_t size = 0;
};
LibcFunction libc_function(const char* name);

// What this process contains that knows a thread by its kernel thread, or a stack by that thread's
// (a sanitizer, a Go runtime with its inline system calls); null: nothing.  At load.
const char* runtime_without_fibers();

// Address ranges that preemption must know: libc, ld.so, this object, the vDSO.
bool is_in_libc_or_loader(unsigned long pc);
bool is_in_loader_data(const void* address);

}  // namespace pfiber::host
