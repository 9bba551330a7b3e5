// Simulator's stand-in for scheduler/host/identity.h: an identity is one word, the value of
// t_current on whoever has this thread pointer.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pfiber::host {

struct IdentityLayout {
    size_t pthread_size = 64, static_tls_size = 64, alignment = 64;
};
inline IdentityLayout identity_layout;

bool identity_probe(const char** reason, long* error);
inline bool identity_create(uintptr_t) { return true; }
inline bool identity_list_is_emptied(uintptr_t) { return false; }
inline void identity_list(uintptr_t) {}
inline void identity_recycle(uintptr_t) {}
inline void identity_assign(uintptr_t, uint32_t, uintptr_t, size_t, size_t) {}
inline void identity_create_bare(uintptr_t) {}
inline void identity_after_fork() {}
inline void identity_enter() {}
inline void identity_disable_rseq() {}
inline void set_tid_field(uintptr_t, uint32_t) {}

// t_current is the only variable that is reached this way.
template <class T>
T* tls_at(uintptr_t tp, T*) {
    return reinterpret_cast<T*>(tp);
}
uintptr_t thread_pointer();

}  // namespace pfiber::host
